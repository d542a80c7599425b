import ControlStore
import GuestClient
import Metrics
import SandboxModel

/// Somebody who wants to reach a port of a sandbox.
package struct PortVisit: Sendable {
    /// The sandbox's id; its name will do for the owner.
    package let sandbox: String
    package let port: UInt16
    /// What was presented as the port's token, in whichever place.
    package let tokens: [String]
    /// Whose API key was presented, if any.
    package let caller: Caller?

    package init(sandbox: String, port: UInt16, tokens: [String], caller: Caller?) {
        self.sandbox = sandbox
        self.port = port
        self.tokens = tokens
        self.caller = caller
    }
}

/// A visit that is allowed.
package struct PortAdmission: Sendable {
    package let sandbox: SandboxID
    package let port: UInt16
    /// The token that let the visitor in; nil for the owner and at a public port.
    package let token: String?
    /// When the visit has to be over; nil for the owner.
    package let expiresAt: Timestamp?
    /// Opens when the port is taken back.
    package let ended: Latch
    fileprivate let wake: Bool?
}

extension Ports {
    /// Decides whether a visit is allowed. Says first what there is, then whether it may be seen: ids cannot be guessed,
    /// and names are the owner's.
    ///
    /// - Throws: `not_found` for a sandbox that is not there; the same with `details.reason` `not_published`;
    ///   `unauthenticated` with `token_missing` or `token_expired`; `permission_denied` with `token_invalid`.
    package func admit(_ visit: PortVisit) throws(MartletError) -> PortAdmission {
        let (sandbox, isOwner) = try visited(visit)
        let now = Timestamp.now
        guard let publication = sandboxes.publishedPorts.publication(visit.port, of: sandbox.id),
            !publication.isOver(at: now)
        else { throw Ports.notPublished(visit.port, of: sandbox.id) }
        let record = publication.record
        func admission(token: String?, until: Timestamp?) -> PortAdmission {
            PortAdmission(
                sandbox: sandbox.id, port: visit.port, token: token, expiresAt: until, ended: publication.ended,
                wake: record.wake)
        }
        if isOwner { return admission(token: nil, until: nil) }
        guard let hash = record.tokenHash, record.visibility == .private else {
            return admission(token: nil, until: record.expiresAt)
        }
        let details = ["sandbox": sandbox.id.rawValue, "port": "\(visit.port)"]
        func refusal(_ code: MartletError.Code, _ reason: String, _ why: String) -> MartletError {
            Counter(label: "port_token_failures_total", dimensions: [("reason", reason)]).increment()
            return MartletError(
                code, "port: \(visit.port) of sandbox \(sandbox.id): \(why)",
                details: details.merging(["reason": reason]) { $1 })
        }
        guard !visit.tokens.isEmpty else {
            throw refusal(
                .unauthenticated, "token_missing",
                "it is private; send its token as 'X-Martlet-Token' or as martlet_token in the query")
        }
        guard let token = visit.tokens.first(where: { PortToken.matches($0, hash: hash) }) else {
            throw refusal(.permissionDenied, "token_invalid", "the token is not this port's")
        }
        guard !publication.isExpired(at: now) else {
            throw refusal(
                .unauthenticated, "token_expired", "the token has expired; publish the port again for a new one")
        }
        return admission(token: token, until: record.expiresAt)
    }

    private func visited(_ visit: PortVisit) throws(MartletError) -> (sandbox: SandboxRecord, isOwner: Bool) {
        if let caller = visit.caller, let owned = try? sandboxes.find(visit.sandbox, caller: caller) {
            return (owned, true)
        }
        guard let id = SandboxID(rawValue: visit.sandbox), let record = sandboxes.index.record(id) else {
            throw Sandboxes.notFound(visit.sandbox)
        }
        return (record, false)
    }

    /// Connects a visitor. A paused sandbox is resumed if the publication says so, once for all who wait.
    ///
    /// - Throws: `unavailable` with `details.reason` `port_closed` when nothing listens on the port, or `guest_gone`;
    ///   `failed_precondition` when the sandbox does not run and is not to be resumed; what resuming it throws.
    package func enter(_ admission: PortAdmission) async throws -> GuestSocket {
        let guest = try await sandboxes.guest(of: admission.sandbox) {
            admission.wake ?? ($0.onTimeout == .pause)
        }
        return try await Ports.connect(guest, port: admission.port, of: admission.sandbox)
    }
}
