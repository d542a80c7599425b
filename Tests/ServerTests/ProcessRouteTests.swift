import GuestClient
import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Processes over HTTP")
struct ProcessRouteTests {
    @Test("Output is replayed from any byte, with ids to go on from")
    func stream() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let root = "/v1/sandboxes/\(id)/processes"
                let started = try await client.call(
                    .post, root, #"{"cmd":["sh","-c","printf hello; printf err >&2; exit 7"]}"#)
                #expect(started.status == 201)
                let pid = try started.json(ProcessResource.self).pid
                let all = try await client.call(.get, "\(root)/\(pid)/stream").events
                #expect(all.last?.name == "exit")
                #expect(try all.last?.json(ProcessExitResource.self).exitCode == 7)
                let out = try all.filter { $0.name == "stdout" }.map { try $0.json(OutputEvent.self) }
                #expect(out.compactMap(\.text).joined() == "hello")
                let errors = try all.filter { $0.name == "stderr" }.map { try $0.json(OutputEvent.self) }
                #expect(errors.compactMap(\.text).joined() == "err")
                for (event, next) in zip(all, all.dropFirst()) where next.name != "exit" {
                    #expect(event.id == "\(try next.json(OutputEvent.self).offset)")
                }
                let tail = try await client.call(.get, "\(root)/\(pid)/stream?from=8").events
                #expect(tail.map(\.name) == ["exit"])
                let resumed = try await client.call(
                    .get, "\(root)/\(pid)/stream", headers: [HTTPField.Name("Last-Event-ID")!: "8"]
                ).events
                #expect(resumed.map(\.name) == ["exit"])
                #expect(resumed[0].id == "8")
                let listed = try await client.call(.get, root).json(Page<ProcessResource>.self)
                #expect(listed.items.map(\.pid) == [pid])
                #expect(listed.items[0].exit?.exitCode == 7)
                #expect(try await client.call(.delete, "\(root)/\(pid)").status == 204)
                #expect(try await client.call(.get, "\(root)/\(pid)").status == 404)
                #expect(try await client.call(.get, "\(root)/\(pid)/stream").status == 404)
            }
        }
    }

    @Test("Input is written as text or base 64, and closed")
    func stdin() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let root = "/v1/sandboxes/\(id)/processes"
                let started = try await client.call(.post, root, #"{"cmd":["cat"],"stdin":true}"#)
                let pid = try started.json(ProcessResource.self).pid
                for body in [#"{"text":"a\n"}"#, #"{"base64":"/w=="}"#, #"{"close":true}"#] {
                    #expect(try await client.call(.post, "\(root)/\(pid)/stdin", body).status == 204)
                }
                let events = try await client.call(.get, "\(root)/\(pid)/stream").events
                #expect(events.last?.name == "exit")
                let pieces = try events.dropLast().map { try $0.json(OutputEvent.self) }
                #expect(pieces.contains { $0.base64 != nil })
                for body in [#"{}"#, #"{"text":"a","base64":"YQ=="}"#, #"{"base64":"?"}"#] {
                    #expect(try await client.call(.post, "\(root)/\(pid)/stdin", body).status == 400)
                }
            }
        }
    }

    @Test("A signal ends the process; a terminal has a size that can be changed")
    func signalAndTerminal() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let root = "/v1/sandboxes/\(id)/processes"
                let started = try await client.call(
                    .post, root, #"{"cmd":["sleep","1000"],"pty":{"rows":24,"cols":80}}"#)
                let process = try started.json(ProcessResource.self)
                #expect(process.pty)
                let pid = process.pid
                let resize = try await client.call(.post, "\(root)/\(pid)/resize", #"{"rows":50,"cols":100}"#)
                #expect(resize.status == 204)
                #expect(try await client.call(.post, "\(root)/\(pid)/resize", #"{"rows":0,"cols":1}"#).status == 400)
                #expect(try await client.call(.post, "\(root)/\(pid)/signal", #"{"signal":"NOPE"}"#).status == 400)
                #expect(try await client.call(.post, "\(root)/\(pid)/signal", #"{"signal":"TERM"}"#).status == 204)
                let events = try await client.call(.get, "\(root)/\(pid)/stream").events
                #expect(try events.last?.json(ProcessExitResource.self).signal == "SIGTERM")
            }
        }
    }

    @Test("A command that is not there is the argument's fault, with a reason; a pid that is none is not found")
    func failures() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let root = "/v1/sandboxes/\(id)/processes"
                let missing = try await client.call(.post, root, #"{"cmd":["no-such-command"]}"#)
                #expect(missing.status == 400)
                #expect(try missing.error().details["reason"] == "command_not_found")
                for pid in ["0", "-1", "abc", "999999999", "99999999999999"] {
                    #expect(try await client.call(.get, "\(root)/\(pid)").status == 404, "\(pid)")
                }
            }
        }
    }

    @Test("A stream whose guest breaks off ends with an error event")
    func brokenOff() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            let guest = try await fixture.node.guest(of: try #require(SandboxID(rawValue: id)))
            try await fixture.routed { client in
                let root = "/v1/sandboxes/\(id)/processes"
                let started = try await client.call(.post, root, #"{"cmd":["sleep","1000"]}"#)
                let pid = try started.json(ProcessResource.self).pid
                async let stream = client.call(.get, "\(root)/\(pid)/stream")
                // The attach of the stream above is answered before this call, which came after it or does so now.
                _ = try await client.call(.get, "\(root)/\(pid)")
                guest.close()
                let answer = try await stream
                if answer.status == 200 {
                    #expect(answer.events.map(\.name) == ["error"])
                    #expect(try answer.events[0].json(ErrorBody.self).error.code == "unavailable")
                } else {
                    #expect(answer.status == 503)
                }
            }
        }
    }
}
