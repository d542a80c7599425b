import E2BProtocol
import SandboxModel

/// What E2B's proxy before the sandboxes answers when it cannot reach one. Clients look at the wording.
struct ProxyFailure: Encodable, Sendable, Equatable {
    var sandboxId: String
    var message: String
    var port: UInt16?
    var code = 502

    /// The sandbox is not there, or does not run.
    static func notRunning(_ sandbox: String) -> ProxyFailure {
        ProxyFailure(sandboxId: sandbox, message: "The sandbox was not found")
    }

    /// It runs, and nothing listens on the port.
    static func portClosed(_ sandbox: String, port: UInt16) -> ProxyFailure {
        ProxyFailure(sandboxId: sandbox, message: "The sandbox is running but port is not open", port: port)
    }
}

extension ProxyFailure {
    /// A failure of ours to serve a port.
    init(_ error: MartletError, at place: PreviewPlace) {
        switch (error.code, error.details["reason"]) {
        case (_, "port_closed"): self = .portClosed(place.sandbox, port: place.port)
        case (_, "guest_gone"), (.failedPrecondition, _): self = .notRunning(place.sandbox)
        case (.notFound, let reason) where reason != "not_published": self = .notRunning(place.sandbox)
        case (_, "bad_answer"):
            self.init(sandboxId: place.sandbox, message: error.message, port: place.port)
        default:
            self.init(
                sandboxId: place.sandbox, message: error.message, port: place.port, code: error.code.httpStatus)
        }
    }

    var bytes: [UInt8] { (try? ProtoJSON.encode(self)) ?? [] }
}
