import ControlStore
import GuestClient
import MartletAPI
import Metrics
import SandboxModel

/// A published port as its owner is told of it.
package struct PublishedPort: Sendable, Equatable {
    package let sandbox: SandboxID
    package let port: UInt16
    package let visibility: PortVisibility
    package let expiresAt: Timestamp?
    /// Whether a request resumes the sandbox if it is paused.
    package let wakes: Bool
    /// Told when it is published, and never again.
    package let token: String?
}

/// Ports of sandboxes that can be reached from outside: published, taken back, visited.
///
/// All of it goes through the guest's agent, so that it works whatever the sandbox's network policy is.
package final class Ports: Sendable {
    let sandboxes: Sandboxes
    private let events: Events
    /// Changes of one sandbox's publications one after another, so that store and memory agree.
    private let turns = Turns<SandboxID>()

    private var published: PublishedPorts { sandboxes.publishedPorts }

    init(sandboxes: Sandboxes, events: Events) {
        self.sandboxes = sandboxes
        self.events = events
    }

    /// Takes up what was published before the daemon started.
    func load() async throws {
        for record in try await sandboxes.store.ports() where sandboxes.index.record(record.sandbox) != nil {
            _ = published.put(record)
        }
    }

    /// Publishes a port, or publishes it anew: an earlier token is good no more, and who uses it is cut off.
    ///
    /// - Throws: `invalid_argument`, `not_found`, `failed_precondition` for a sandbox that ends or failed,
    ///   `resource_exhausted` when it has too many.
    package func publish(
        _ idOrName: String, _ request: PublishPortRequest, caller: Caller
    ) async throws -> PublishedPort {
        let id = try sandboxes.find(idOrName, caller: caller).id
        let token = request.visibility == .public ? nil : PortToken.make()
        let record = try record(of: request, sandbox: id, token: token)
        return try await turns.take(id) {
            guard let sandbox = sandboxes.index.record(id), sandbox.state.isLive else {
                throw sandboxes.wrongState("publish port", id)
            }
            try await makeRoom(for: record.port, of: id)
            try await shielded { [sandboxes] in try await sandboxes.store.put(record) }
            _ = published.put(record)
            // It may have ended in between; the store's row went with it.
            if sandboxes.index.record(id) == nil { published.removeAll(of: id) }
            events.note(
                id, "port_published", "port \(record.port) can be reached from outside",
                ["port": "\(record.port)", "visibility": record.visibility.rawValue])
            Counter(label: "ports_published_total", dimensions: [("visibility", record.visibility.rawValue)])
                .increment()
            return described(record, of: sandbox, token: token)
        }
    }

    private func record(
        of request: PublishPortRequest, sandbox: SandboxID, token: String?
    ) throws(MartletError) -> PortRecord {
        guard let port = UInt16(exactly: request.port), port > 0 else {
            throw .invalid("port", "\(request.port): must be from 1 to 65535")
        }
        let limit = sandboxes.configuration.maxPortSeconds
        if let seconds = request.ttlSeconds, !(1...limit).contains(seconds) {
            throw .invalid("ttl_seconds", "must be from 1 to \(limit)")
        }
        let visibility = request.visibility ?? .private
        let standard = visibility == .private ? sandboxes.configuration.defaultPortSeconds : nil
        let now = Timestamp.now
        return PortRecord(
            sandbox: sandbox, port: port, visibility: visibility, wake: request.wake,
            tokenHash: token.map(SecretHash.of), createdAt: now,
            expiresAt: (request.ttlSeconds ?? standard).map { now.adding(seconds: Int64($0)) })
    }

    /// Forgets what is over, and looks whether there is room for one more.
    private func makeRoom(for port: UInt16, of id: SandboxID) async throws {
        let now = Timestamp.now
        let all = published.everything(of: id)
        for publication in all where publication.isOver(at: now) && publication.record.port != port {
            try await sandboxes.store.removePort(publication.record.port, of: id)
            published.remove(publication.record.port, of: id)
        }
        let others = published.all(of: id, at: now).count { $0.record.port != port }
        let limit = sandboxes.configuration.maxPortsPerSandbox
        guard others < limit else {
            throw MartletError(
                .resourceExhausted,
                "publish port: \(id): it has \(limit) published ports, which is the limit; take one back",
                details: ["limit": "\(limit)"])
        }
    }

    /// A sandbox's published ports, by number.
    package func list(_ idOrName: String, caller: Caller) throws(MartletError) -> [PublishedPort] {
        let sandbox = try sandboxes.find(idOrName, caller: caller)
        return published.all(of: sandbox.id, at: .now).map { described($0.record, of: sandbox, token: nil) }
    }

    /// Takes a published port back; who uses it is cut off.
    ///
    /// - Throws: `not_found`.
    package func unpublish(_ idOrName: String, port: UInt16, caller: Caller) async throws {
        let id = try sandboxes.find(idOrName, caller: caller).id
        try await turns.take(id) {
            guard published.publication(port, of: id) != nil else { throw Ports.notPublished(port, of: id) }
            try await shielded { [sandboxes] in try await sandboxes.store.removePort(port, of: id) }
            published.remove(port, of: id)
            events.note(
                id, "port_unpublished", "port \(port) cannot be reached from outside any more", ["port": "\(port)"])
        }
    }

    /// Connects a sandbox's owner to any of its ports, published or not.
    ///
    /// - Throws: `not_found`, `failed_precondition` when it does not run, `unavailable` with `details.reason`
    ///   `port_closed` when nothing listens, and what resuming it throws.
    package func tunnel(_ idOrName: String, port: UInt16, caller: Caller) async throws -> GuestSocket {
        let (id, guest) = try await sandboxes.guest(of: idOrName, caller: caller)
        return try await Ports.connect(guest, port: port, of: id)
    }

    private func described(_ record: PortRecord, of sandbox: SandboxRecord, token: String?) -> PublishedPort {
        PublishedPort(
            sandbox: record.sandbox, port: record.port, visibility: record.visibility, expiresAt: record.expiresAt,
            wakes: record.wake ?? (sandbox.onTimeout == .pause), token: token)
    }

    static func notPublished(_ port: UInt16, of id: SandboxID) -> MartletError {
        MartletError(
            .notFound, "port: \(port) of sandbox \(id) is not published",
            details: ["sandbox": id.rawValue, "port": "\(port)", "reason": "not_published"])
    }

    /// Connects, and tells a guest that is gone from a port that is closed.
    static func connect(_ guest: GuestConnection, port: UInt16, of id: SandboxID) async throws -> GuestSocket {
        do {
            return try await guest.connect(port: port)
        } catch var error as MartletError {
            if error.code == .unavailable, error.details["reason"] == nil { error.details["reason"] = "guest_gone" }
            error.details["sandbox"] = id.rawValue
            error.details["port"] = "\(port)"
            throw error
        }
    }
}
