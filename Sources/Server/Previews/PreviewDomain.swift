import SandboxModel

/// The domain below which every published port has a host name of its own: `{port}-{id}.<domain>`. Pages of different
/// ports are of different origins then, and none is of the API's.
package struct PreviewDomain: Sendable, Equatable {
    /// Resolves to this machine in browsers, whatever stands before it (RFC 6761, section 6.3).
    package static let standard = PreviewDomain(scheme: "http", name: "localhost", port: nil)

    /// `http`, or `https` where TLS is in front of the daemon.
    let scheme: String
    let name: String
    /// The port clients use, where it is not the daemon's own.
    let port: Int?

    private init(scheme: String, name: String, port: Int?) {
        self.scheme = scheme
        self.name = name
        self.port = port
    }

    /// Reads `preview.example.com`, `https://preview.example.com` or either with `:port`.
    package init(parsing text: String) throws(MartletError) {
        var rest = Substring(text.lowercased())
        var scheme = "http"
        for known in ["http", "https"] where rest.hasPrefix(known + "://") {
            scheme = known
            rest = rest.dropFirst(known.count + 3)
        }
        var port: Int?
        if let colon = rest.lastIndex(of: ":") {
            guard let number = UInt16(rest[rest.index(after: colon)...]), number > 0 else {
                throw .invalid("domain", "'\(text)': what stands after the colon is no port")
            }
            port = Int(number)
            rest = rest[..<colon]
        }
        let labels = rest.split(separator: ".", omittingEmptySubsequences: false)
        // A label before it has up to 26 characters, and the whole 253 (RFC 1035, section 2.3.4).
        guard rest.utf8.count <= 220, labels.allSatisfy({ SandboxName(rawValue: String($0)) != nil }) else {
            throw .invalid(
                "domain", "'\(text)' is not a domain such as preview.example.com or https://preview.example.com")
        }
        self.init(scheme: scheme, name: String(rest), port: port ?? (scheme == "https" ? 443 : nil))
    }

    /// What a `Host` names: nil unless it begins as previews do, with a number and a dash, and ends in this domain.
    func host(_ authority: String) -> PreviewHost? {
        var host = Substring(authority.lowercased())
        if let colon = host.lastIndex(of: ":") {
            guard host[host.index(after: colon)...].utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
            host = host[..<colon]
        }
        if host.hasSuffix(".") { host = host.dropLast() }
        guard host.hasSuffix("." + name) else { return nil }
        let label = host.dropLast(name.utf8.count + 1)
        guard !label.contains("."), let dash = label.firstIndex(of: "-") else { return nil }
        let digits = label[..<dash]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        // What follows the id after another dash once named a node to clients of E2B, and means nothing here.
        let sandbox = label[label.index(after: dash)...].prefix { $0 != "-" }
        return PreviewHost(port: UInt16(digits), sandbox: String(sandbox))
    }

    /// Where a port is reached, when the daemon listens at a port of its own.
    func url(port number: UInt16, sandbox: SandboxID, listening: Int?) -> String {
        "\(scheme)://\(number)-\(sandbox).\(withPort(listening: listening))/"
    }

    /// The name, with the port where it is not the scheme's own.
    func withPort(listening: Int?) -> String {
        let shown = (port ?? listening).flatMap { $0 == (scheme == "https" ? 443 : 80) ? nil : ":\($0)" } ?? ""
        return name + shown
    }
}

/// A host name of a preview, taken apart.
struct PreviewHost: Equatable {
    /// nil for a number that is no port.
    var port: UInt16?
    var sandbox: String
}
