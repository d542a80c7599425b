import ControlPlane
import GuestClient
import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Sandboxes over HTTP")
struct SandboxRouteTests {
    @Test("Made, found by id and name, listed, changed, killed")
    func life() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let made = try await client.call(
                    .post, "/v1/sandboxes", #"{"name":"web","metadata":{"team":"blue"},"env":{"A":"1"}}"#)
                #expect(made.status == 201)
                let sandbox = try made.json(SandboxResource.self)
                #expect(made.headers[.location] == "/v1/sandboxes/\(sandbox.id)")
                #expect(sandbox.state == .running)
                #expect(sandbox.isolation.engine == "test")
                for name in ["web", sandbox.id] {
                    let found = try await client.call(.get, "/v1/sandboxes/\(name)")
                    #expect(try found.json(SandboxResource.self).id == sandbox.id)
                }
                let page = try await client.call(.get, "/v1/sandboxes?metadata.team=blue&state=running")
                #expect(try page.json(Page<SandboxResource>.self).items.map(\.id) == [sandbox.id])
                let none = try await client.call(.get, "/v1/sandboxes?metadata.team=red")
                #expect(try none.json(Page<SandboxResource>.self).items.isEmpty)
                let changed = try await client.call(
                    .patch, "/v1/sandboxes/web", #"{"timeout_seconds":1000,"metadata":{}}"#)
                #expect(try changed.json(SandboxResource.self).metadata.isEmpty)
                #expect(try await client.call(.delete, "/v1/sandboxes/web").status == 204)
                #expect(try await client.call(.delete, "/v1/sandboxes/web").status == 404)
                #expect(try await client.call(.get, "/v1/sandboxes/\(sandbox.id)").status == 404)
            }
        }
    }

    @Test("An empty body makes a sandbox of the defaults; an idempotency key makes one only")
    func defaults() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let headers: HTTPFields = [HTTPField.Name("Idempotency-Key")!: "abc"]
                let first = try await client.call(.post, "/v1/sandboxes", headers: headers)
                #expect(first.status == 201)
                let second = try await client.call(.post, "/v1/sandboxes", headers: headers)
                #expect(second.status == 201)
                #expect(try first.json(SandboxResource.self).id == second.json(SandboxResource.self).id)
                let other = try await client.call(.post, "/v1/sandboxes", #"{"cpus":2}"#, headers: headers)
                #expect(other.status == 409)
                #expect(fixture.node.created.count == 1)
            }
        }
    }

    @Test("A limit that is reached says so and when to try again")
    func limit() async throws {
        try await ServerFixture.with(plane: { $0.maxSandboxesPerKey = 1 }) { fixture in
            try await fixture.routed { client in
                #expect(try await client.call(.post, "/v1/sandboxes").status == 201)
                let refused = try await client.call(.post, "/v1/sandboxes")
                #expect(refused.status == 429)
                #expect(refused.headers[.retryAfter] != nil)
                #expect(try refused.error().details["limit"] == "1")
            }
        }
    }

    @Test("A command's end is the answer, also when there is no such command")
    func exec() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let path = "/v1/sandboxes/\(id)/exec"
                let sum = try await client.call(
                    .post, path, #"{"cmd":["python3","-c","print(sum(range(100)))"]}"#)
                #expect(sum.status == 200)
                #expect(try sum.json(ExecResult.self).stdout == "4950\n")
                let missing = try await client.call(.post, path, #"{"cmd":["no-such-command"]}"#)
                #expect(missing.status == 200)
                #expect(try missing.json(ExecResult.self).exitCode == 127)
                let binary = try await client.call(.post, path, #"{"cmd":"printf '\\377'"}"#)
                let result = try binary.json(ExecResult.self)
                #expect(result.stdout == nil)
                #expect(result.stdoutBase64 == "/w==")
            }
        }
    }

    @Test("A sandbox whose guest is gone is unavailable or failed, never a hang")
    func guestGone() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            let guest = try await fixture.node.guest(of: try #require(SandboxID(rawValue: id)))
            try await fixture.routed { client in
                async let slow = client.call(.post, "/v1/sandboxes/\(id)/exec", #"{"cmd":"sleep 600"}"#)
                // The program runs before its machine goes.
                while try await fixture.plane.processes.list(id, caller: .local).isEmpty { await Task.yield() }
                guest.close()
                let answer = try await slow
                #expect(answer.status == 503)
                #expect(try answer.error().code == "unavailable")
            }
        }
    }

    @Test("Metrics, console and history are told")
    func looking() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let metrics = try await client.call(.get, "/v1/sandboxes/\(id)/metrics").json(SandboxMetrics.self)
                #expect(metrics.memoryTotalBytes > 0)
                #expect(metrics.hostPrivateBytes == 20 << 20)
                let log = try await client.call(.get, "/v1/sandboxes/\(id)/logs")
                #expect(log.body.last == 0xFF)
                #expect(log.headers[HTTPField.Name("X-Content-Type-Options")!] == "nosniff")
                let history = try await client.call(.get, "/v1/sandboxes/\(id)/events?follow=false")
                #expect(history.headers[.contentType] == "text/event-stream")
                let events = history.events
                #expect(events.map(\.name) == ["state"])
                #expect(try events[0].json(SandboxEvent.self).details["to"] == "running")
                let after = try await client.call(
                    .get, "/v1/sandboxes/\(id)/events?follow=false&after=\(try #require(events[0].id))")
                #expect(after.events.isEmpty)
            }
        }
    }
}
