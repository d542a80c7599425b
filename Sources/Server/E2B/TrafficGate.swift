import ControlPlane
import E2BProtocol
import GuestClient
import MartletAPI
import SandboxModel

/// E2B's rule of who may reach the ports of a sandbox: whoever knows its id, or, if it was made with
/// `allowPublicTraffic: false`, who has a token of it. One that no client of E2B made is reached with a token only.
struct TrafficGate: Sendable {
    let sandboxes: Sandboxes
    let ports: Ports
    let tokens: AccessTokens

    /// A visitor who is let in.
    struct Passage: Sendable {
        let sandbox: SandboxResource
        let caller: Caller
        /// Whether the visitor has a token, and so need not ask who else may come.
        let holdsToken: Bool
        /// Whether the visit resumes the sandbox if it is paused.
        let wakes: Bool
    }

    init(controlPlane: ControlPlane) {
        sandboxes = controlPlane.sandboxes
        ports = controlPlane.ports
        tokens = controlPlane.accessTokens
    }

    /// nil for one whom this rule does not let in.
    func passage(to place: PreviewPlace, tokens presented: [String]) -> Passage? {
        guard !place.isOurs, let id = SandboxID(rawValue: place.sandbox),
            let (caller, sandbox, dialect) = sandboxes.opened(id)
        else {
            return nil
        }
        let holdsToken = presented.contains {
            tokens.isValid($0, .traffic, of: id) || tokens.isValid($0, .control, of: id)
        }
        let isPublic = dialect.flatMap(SandboxSettings.init)?.isPublic ?? false
        guard holdsToken || isPublic else { return nil }
        return Passage(
            sandbox: sandbox, caller: caller, holdsToken: holdsToken,
            wakes: SandboxSettings.wakes(sandbox, dialect: dialect))
    }

    /// Whether failures are told in E2B's shape: to its clients, and of sandboxes that these made.
    func speaksE2B(_ place: PreviewPlace) -> Bool {
        guard !place.isOurs else { return false }
        guard !place.speaksE2B else { return true }
        guard let id = SandboxID(rawValue: place.sandbox), let (_, _, dialect) = sandboxes.opened(id) else {
            // Of one that is gone nobody knows who made it; older clients of the code interpreter say nothing of themselves.
            return place.port == E2BConstants.codePort
        }
        return dialect != nil
    }

    /// Connects a visitor.
    ///
    /// - Throws: `failed_precondition` when the sandbox is paused and is not to be resumed by this, and what
    ///   `Ports.tunnel` throws.
    func enter(_ passage: Passage, port: UInt16) async throws -> GuestSocket {
        let id = passage.sandbox.id
        guard passage.sandbox.state != .paused || passage.wakes else {
            throw MartletError(.failedPrecondition, "sandbox: \(id) is paused", details: ["sandbox": id])
        }
        return try await ports.tunnel(id, port: port, caller: passage.caller)
    }

    static func tokenMissing(_ place: PreviewPlace) -> MartletError {
        MartletError(
            .permissionDenied,
            "Sandbox is secured with traffic access token. Token header 'e2b-traffic-access-token' is missing or wrong",
            details: ["sandbox": place.sandbox, "port": "\(place.port)", "reason": "token_missing"])
    }
}

extension PreviewPlace {
    /// Whether it is addressed by a path of our own API, whose rules are our own.
    fileprivate var isOurs: Bool { if case .path = form { true } else { false } }
}

extension SandboxSettings {
    /// Whether a request resumes a sandbox that is paused; one without its memory is resumed on request only.
    static func wakes(_ sandbox: SandboxResource, dialect: String?) -> Bool {
        guard sandbox.state == .paused, sandbox.onTimeout == .pause else { return false }
        guard let settings = dialect.flatMap(SandboxSettings.init) else { return true }
        return settings.autoResume && settings.pausedWithMemory ?? settings.keepsMemory
    }
}
