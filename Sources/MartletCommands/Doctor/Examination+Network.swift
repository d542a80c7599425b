import HostNetwork

extension Examination {
    /// Whether sandboxes can have networks; they run without, too.
    var networkChecks: [Check] {
        get async {
            let configuration = HostNetworkConfiguration(directory: data.network)
            return await HostNetworkExamination(configuration).findings().map { finding in
                finding.isThere
                    ? Check(finding.name, .ok, finding.detail)
                    : Check(
                        finding.name, .warning,
                        finding.isRequired ? finding.detail + ": sandboxes have no network" : finding.detail,
                        fix: finding.fix)
            }
        }
    }
}
