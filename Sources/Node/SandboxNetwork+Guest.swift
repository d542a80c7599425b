import GuestProtocol
import SandboxModel

extension SandboxNetwork {
    /// Whether the guest has to trust the sandbox's own authority.
    var hasSecrets: Bool { !secrets.isEmpty && authority != nil }

    /// Variables by which programs that do not look at the system's bundle of authorities are told of one: OpenSSL and
    /// most of what stands on it, Python's requests, curl, git, Node.js, pip.
    private static let bundleVariables = [
        "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT",
    ]

    /// What the guest is to trust; empty when there is no need.
    var trustedCertificate: String { hasSecrets ? authority?.certificate ?? "" : "" }

    /// `NAME=value` pairs for programs of a sandbox with secrets: their placeholders, and where authorities are. What
    /// the user has set stays.
    func environment(besides given: [String]) -> [String] {
        guard hasSecrets else { return [] }
        let taken = Set(given.map { $0.prefix { $0 != "=" } })
        let own =
            secrets.map { "\($0.name)=\($0.placeholder)" }
            + SandboxNetwork.bundleVariables.map { "\($0)=\(GuestTrust.bundle)" }
        return own.filter { !taken.contains($0.prefix { $0 != "=" }) }
    }
}
