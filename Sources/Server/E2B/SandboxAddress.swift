import E2BProtocol
import HTTPTypes
import Hummingbird
import SandboxModel

/// Which port of which sandbox a request is for, as E2B's clients tell it: in two headers, or in the name of the host,
/// `{port}-{sandbox}.{domain}`.
struct SandboxAddress: Sendable, Equatable {
    /// As sent: it may be none.
    let sandbox: String
    let port: UInt16

    /// nil for a request that is for no sandbox.
    init?(_ request: Request) {
        if let sandbox = request.headers[.e2bSandbox] {
            guard let port = request.headers[.e2bPort].flatMap(UInt16.init) else { return nil }
            self.init(sandbox: sandbox, port: port)
        } else {
            self.init(host: request.head.authority ?? "")
        }
    }

    init(sandbox: String, port: UInt16) {
        self.sandbox = String(sandbox.prefix(64))
        self.port = port
    }

    /// Reads a host's name. What follows the id after another dash once named a node, and means nothing here.
    init?(host: String) {
        let labels = host.lowercased().split(separator: ".", maxSplits: 1)
        guard labels.count == 2 else { return nil }
        let parts = labels[0].split(separator: "-", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, let port = UInt16(parts[0]), port > 0, SandboxID(rawValue: String(parts[1])) != nil
        else { return nil }
        self.init(sandbox: String(parts[1]), port: port)
    }
}

extension HTTPField.Name {
    static let e2bSandbox = e2b("E2b-Sandbox-Id")
    static let e2bPort = e2b("E2b-Sandbox-Port")
    static let e2bNextToken = e2b("X-Next-Token")
    static let accessToken = e2b("X-Access-Token")
    static let trafficToken = e2b("E2b-Traffic-Access-Token")
    static let connectTimeout = e2b("Connect-Timeout-Ms")
    static let keepaliveInterval = e2b("Keepalive-Ping-Interval")

    private static func e2b(_ text: String) -> HTTPField.Name { HTTPField.Name(text) ?? .upgrade }
}
