import ControlStore
import MartletAPI
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Published ports")
struct PortTests {
    private func publish(
        _ fixture: PlaneFixture, _ id: String, _ request: PublishPortRequest, caller: Caller = .local
    ) async throws -> PublishedPort {
        try await fixture.plane.ports.publish(id, request, caller: caller)
    }

    private func reason(_ fixture: PlaneFixture, _ visit: PortVisit) -> String? {
        do {
            _ = try fixture.plane.ports.admit(visit)
            return nil
        } catch {
            return error.details["reason"] ?? error.code.rawValue
        }
    }

    @Test("A private port has a token that is told once, kept as a hash, and good for this port of this sandbox alone")
    func tokens() async throws {
        try await PlaneFixture.with { fixture in
            let (id, other) = (try await fixture.create().id, try await fixture.create().id)
            let published = try await publish(fixture, id, .init(port: 80))
            let token = try #require(published.token)
            _ = try await publish(fixture, id, .init(port: 81))
            _ = try await publish(fixture, other, .init(port: 80))
            #expect(published.visibility == .private)
            #expect(published.expiresAt.map { $0 > .now } == true)
            #expect(try fixture.plane.ports.list(id, caller: .local).allSatisfy { $0.token == nil })
            #expect(try await fixture.store.ports().allSatisfy { $0.tokenHash?.count == 32 })
            func visit(_ sandbox: String, _ port: UInt16, _ tokens: [String]) -> PortVisit {
                PortVisit(sandbox: sandbox, port: port, tokens: tokens, caller: nil)
            }
            #expect(reason(fixture, visit(id, 80, [token])) == nil)
            // One that is right will do, so that a cookie someone else set locks nobody out.
            #expect(reason(fixture, visit(id, 80, ["wrong", token])) == nil)
            #expect(reason(fixture, visit(id, 81, [token])) == "token_invalid")
            #expect(reason(fixture, visit(other, 80, [token])) == "token_invalid")
            #expect(reason(fixture, visit(id, 80, [])) == "token_missing")
            #expect(reason(fixture, visit(id, 82, [token])) == "not_published")
            #expect(reason(fixture, visit("s0000000000000000000", 80, [token])) == "not_found")
            // Published anew: the old token is good no more.
            let renewed = try await publish(fixture, id, .init(port: 80))
            #expect(reason(fixture, visit(id, 80, [token])) == "token_invalid")
            #expect(reason(fixture, visit(id, 80, [try #require(renewed.token)])) == nil)
            try await fixture.plane.ports.unpublish(id, port: 80, caller: .local)
            #expect(reason(fixture, visit(id, 80, [token])) == "not_published")
            #expect(await code { try await fixture.plane.ports.unpublish(id, port: 80, caller: .local) } == .notFound)
        }
    }

    @Test("Owners get in without a token and by name, others do neither")
    func owners() async throws {
        try await PlaneFixture.with { fixture in
            let (owner, stranger) = (try await fixture.user("owner"), try await fixture.user("stranger"))
            let sandbox = try await fixture.plane.sandboxes.create(
                .init(name: "web"), idempotencyKey: nil, caller: owner)
            _ = try await publish(fixture, "web", .init(port: 80), caller: owner)
            func visit(_ caller: Caller?, _ name: String) -> PortVisit {
                PortVisit(sandbox: name, port: 80, tokens: [], caller: caller)
            }
            #expect(reason(fixture, visit(owner, "web")) == nil)
            #expect(reason(fixture, visit(.local, sandbox.id)) == nil)
            #expect(reason(fixture, visit(stranger, "web")) == "not_found")
            #expect(reason(fixture, visit(stranger, sandbox.id)) == "token_missing")
            #expect(reason(fixture, visit(nil, "web")) == "not_found")
            #expect(
                await code { try await publish(fixture, sandbox.id, .init(port: 81), caller: stranger) } == .notFound)
            #expect(await code { try fixture.plane.ports.list("web", caller: stranger) } == .notFound)
            #expect(
                await code { try await fixture.plane.ports.unpublish("web", port: 80, caller: stranger) } == .notFound)
            #expect(
                await code { try await fixture.plane.ports.tunnel("web", port: 80, caller: stranger) } == .notFound)
        }
    }

    @Test("Time is up: a public port is not there any more, a private one says that its token has expired")
    func expiry() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let sandbox = try #require(SandboxID(rawValue: id))
            let past = Timestamp.now.adding(seconds: -1)
            let token = "t"
            for (port, visibility) in [(80, PortVisibility.private), (81, .public)] {
                let record = PortRecord(
                    sandbox: sandbox, port: UInt16(port), visibility: visibility, wake: nil,
                    tokenHash: visibility == .private ? SecretHash.of(token) : nil, createdAt: past, expiresAt: past)
                _ = fixture.plane.sandboxes.publishedPorts.put(record)
            }
            func visit(_ port: UInt16, _ caller: Caller? = nil) -> PortVisit {
                PortVisit(sandbox: id, port: port, tokens: [token], caller: caller)
            }
            #expect(reason(fixture, visit(80)) == "token_expired")
            #expect(reason(fixture, visit(80, .local)) == nil)
            #expect(reason(fixture, visit(81)) == "not_published")
            #expect(reason(fixture, visit(81, .local)) == "not_published")
            #expect(try fixture.plane.ports.list(id, caller: .local).map(\.port) == [80])
        }
    }

    @Test("Ports, times and their number have bounds")
    func bounds() async throws {
        try await PlaneFixture.with(configure: { $0.maxPortsPerSandbox = 2 }) { fixture in
            let id = try await fixture.create().id
            for port in [0, -1, 65_536] {
                #expect(await code { try await publish(fixture, id, .init(port: port)) } == .invalidArgument)
            }
            for ttl in [0, -1, 30 * 24 * 3600 + 1] {
                let request = PublishPortRequest(port: 80, ttlSeconds: ttl)
                #expect(await code { try await publish(fixture, id, request) } == .invalidArgument)
            }
            _ = try await publish(fixture, id, .init(port: 1, visibility: .public))
            _ = try await publish(fixture, id, .init(port: 2))
            #expect(await code { try await publish(fixture, id, .init(port: 3)) } == .resourceExhausted)
            // One that is there already is no further one, and one that is over takes no room.
            _ = try await publish(fixture, id, .init(port: 2))
            try await fixture.plane.ports.unpublish(id, port: 1, caller: .local)
            let sandbox = try #require(SandboxID(rawValue: id))
            let over = PortRecord(
                sandbox: sandbox, port: 1, visibility: .public, wake: nil, tokenHash: nil, createdAt: .now,
                expiresAt: .now.adding(seconds: -1))
            try await fixture.store.put(over)
            _ = fixture.plane.sandboxes.publishedPorts.put(over)
            _ = try await publish(fixture, id, .init(port: 3))
            #expect(try await fixture.store.ports().map(\.port).sorted() == [2, 3])
        }
    }

    @Test("Publications stay over a restart of the daemon and a pause, and go with their sandbox")
    func life() async throws {
        let (node, scratch) = (TestNode(), try Scratch())
        var token = ""
        var id = ""
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            id = try await fixture.create().id
            token = try #require(try await publish(fixture, id, .init(port: 80)).token)
            _ = try await fixture.plane.sandboxes.pause(id, caller: .local)
        }
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            let visit = PortVisit(sandbox: id, port: 80, tokens: [token], caller: nil)
            let admission = try fixture.plane.ports.admit(visit)
            #expect(!admission.ended.isOpen)
            // Paused, and not one of those that resume themselves.
            #expect(await code { try await fixture.plane.ports.enter(admission) } == .failedPrecondition)
            try await fixture.plane.sandboxes.delete(id, caller: .local)
            #expect(admission.ended.isOpen)
            #expect(reason(fixture, visit) == "not_found")
            #expect(try await fixture.store.ports().isEmpty)
            #expect(await code { try await publish(fixture, id, .init(port: 80)) } == .notFound)
        }
    }

    @Test("A fork has none of its parent's publications")
    func forks() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let token = try #require(try await publish(fixture, id, .init(port: 80)).token)
            let made = try await fixture.plane.snapshots.fork(sandbox: id, .init(), caller: .local)
            let child = try #require(made.forks.first?.sandbox?.id)
            #expect(try fixture.plane.ports.list(child, caller: .local).isEmpty)
            let visit = PortVisit(sandbox: child, port: 80, tokens: [token], caller: nil)
            #expect(reason(fixture, visit) == "not_published")
        }
    }

    @Test("Publishing and taking back are events of the sandbox")
    func events() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            _ = try await publish(fixture, id, .init(port: 80))
            try await fixture.plane.ports.unpublish(id, port: 80, caller: .local)
            try await fixture.waitForEvent(id, kind: "port_published")
            try await fixture.waitForEvent(id, kind: "port_unpublished")
        }
    }

    @Test("A connection to a port where nothing listens says so")
    func closed() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let error = await #expect(throws: MartletError.self) {
                // Port 1 (tcpmux) is nobody's.
                _ = try await fixture.plane.ports.tunnel(id, port: 1, caller: .local)
            }
            #expect(error?.code == .unavailable && error?.details["reason"] == "port_closed")
            #expect(error?.details["sandbox"] == id && error?.details["port"] == "1")
        }
    }
}
