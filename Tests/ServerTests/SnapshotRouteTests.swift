import ControlPlane
import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Pause, snapshots and forks over HTTP")
struct SnapshotRouteTests {
    @Test("Paused, resumed, captured, forked, rewound, drawn")
    func life() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let made = try await client.call(
                    .post, "/v1/sandboxes", #"{"name":"web","record":true,"on_timeout":"pause"}"#)
                let sandbox = try made.json(SandboxResource.self)
                #expect(sandbox.record && sandbox.onTimeout == .pause)
                let ran = try await client.call(.post, "/v1/sandboxes/web/exec", #"{"cmd":"true"}"#)
                #expect(try ran.json(ExecResult.self).checkpoint == 1)
                let points = try await client.call(.get, "/v1/sandboxes/web/checkpoints")
                #expect(try points.json(Page<SnapshotResource>.self).items.map(\.number) == [0, 1])

                let paused = try await client.call(.post, "/v1/sandboxes/web/pause")
                #expect(paused.status == 200)
                #expect(try paused.json(SandboxResource.self).state == .paused)
                #expect(!paused.text.contains("expires_at"))
                let listed = try await client.call(.get, "/v1/sandboxes?state=paused")
                #expect(try listed.json(Page<SandboxResource>.self).items.count == 1)
                let resumed = try await client.call(.post, "/v1/sandboxes/web/resume")
                #expect(try resumed.json(SandboxResource.self).state == .running)
                #expect(try await client.call(.post, "/v1/sandboxes/web/resume", "{}").status == 412)
                let booted = try await client.call(.post, "/v1/sandboxes/web/resume", #"{"from":"disk"}"#)
                #expect(try booted.json(SandboxResource.self).create?.mode == .booted)

                let headers: HTTPFields = [HTTPField.Name("Idempotency-Key")!: "once"]
                let taken = try await client.call(
                    .post, "/v1/sandboxes/web/snapshots", #"{"name":"gold"}"#, headers: headers)
                #expect(taken.status == 201)
                let gold = try taken.json(SnapshotResource.self)
                #expect(taken.headers[.location] == "/v1/snapshots/\(gold.id)")
                let again = try await client.call(
                    .post, "/v1/sandboxes/web/snapshots", #"{"name":"gold"}"#, headers: headers)
                #expect(try again.json(SnapshotResource.self).id == gold.id)
                #expect(try await client.call(.get, "/v1/snapshots/gold").json(SnapshotResource.self).id == gold.id)
                let page = try await client.call(.get, "/v1/snapshots?kind=snapshot&sandbox=web&limit=5")
                #expect(try page.json(Page<SnapshotResource>.self).items.map(\.id) == [gold.id])

                let forked = try await client.call(.post, "/v1/sandboxes/web/fork", #"{"count":2,"env":{"A":"1"}}"#)
                #expect(forked.status == 201)
                let forks = try forked.json(ForkResult.self)
                #expect(forks.source == .running && forks.forks.count == 2)
                let child = try await client.call(.post, "/v1/snapshots/gold/fork")
                let user = try #require(try child.json(ForkResult.self).forks[0].sandbox)
                #expect(user.fromSnapshot == gold.id)
                let kept = try await client.call(.delete, "/v1/snapshots/gold")
                #expect(kept.status == 202)
                #expect(try kept.json(SnapshotResource.self).inUseBy == [user.id])
                #expect(try await client.call(.post, "/v1/snapshots/\(gold.id)/fork").status == 412)
                let leaving = try await client.call(.get, "/v1/snapshots?state=deleting")
                #expect(try leaving.json(Page<SnapshotResource>.self).items.map(\.id) == [gold.id])
                #expect(try await client.call(.delete, "/v1/sandboxes/\(user.id)").status == 204)
                #expect(try await client.call(.get, "/v1/snapshots/\(gold.id)").status == 404)

                let rewound = try await client.call(.post, "/v1/sandboxes/web/rewind", #"{"to":0}"#)
                #expect(rewound.status == 200)
                let tree = try await client.call(.get, "/v1/sandboxes/web/tree").json(TreeResource.self)
                #expect(tree.nodes.first?.id == sandbox.id)
                #expect(tree.nodes.first(where: \.isCurrent)?.number == 0)
                let point = try await client.call(
                    .delete, "/v1/snapshots/\(try #require(tree.nodes.last { $0.kind == .checkpoint }).id)")
                #expect(point.status == 204)
            }
        }
    }

    @Test(
        "Bodies that are not as they must be are 400 naming the field, and nothing is done",
        arguments: [
            ("pause", #"{"x":1}"#, "x"), ("resume", #"{"from":"tape"}"#, "from"), ("resume", #"{"from":1}"#, "from"),
            ("resume", #"{"timeout_seconds":0}"#, "timeout_seconds"), ("resume", #"{"form":"disk"}"#, "form"),
            ("snapshots", #"{"name":"A"}"#, "name"), ("snapshots", #"{"name":7}"#, "name"),
            ("snapshots", #"{"name":"import"}"#, "name"), ("snapshots", #"{"metadata":{"a":1}}"#, "metadata.a"),
            ("snapshots", #"{"nam":"x"}"#, "nam"), ("fork", #"{"count":0}"#, "count"),
            ("fork", #"{"count":65}"#, "count"),
            ("fork", #"{"count":"2"}"#, "count"), ("fork", #"{"count":1.5}"#, "count"), ("fork", #"{"at":"1"}"#, "at"),
            ("fork", #"{"inherit_env":1}"#, "inherit_env"), ("fork", #"{"env":{"A B":""}}"#, "env"),
            ("fork", #"{"timeout_seconds":0}"#, "timeout_seconds"), ("fork", #"{"from":1}"#, "from"),
            ("rewind", #"{}"#, "to"), ("rewind", #"{"to":"1"}"#, "to"), ("rewind", #"{"to":1,"x":1}"#, "x"),
            ("rewind", "[]", "body"), ("fork", "{", "body"),
        ])
    func badBodies(route: String, body: String, field: String) async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let answer = try await client.call(.post, "/v1/sandboxes/\(id)/\(route)", body)
                #expect(answer.status == 400)
                #expect(try answer.error().details["field"] == field, "\(answer.text)")
                let none = try await client.call(
                    .post, "/v1/sandboxes/nope/\(route)", route == "rewind" ? #"{"to":1}"# : "{}")
                #expect(none.status == 404)
            }
            for call in [TestNode.Call.pause, .resume, .snapshot, .fork, .rewind] {
                #expect(fixture.node.count(call) == 0)
            }
        }
    }

    @Test("What is not there is 404, and what is asked wrongly 400")
    func unknown() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                for (method, path) in [
                    (.get, "/v1/snapshots/nope"), (.delete, "/v1/snapshots/nope"), (.post, "/v1/snapshots/nope/fork"),
                    (.get, "/v1/snapshots/nope/export"), (.get, "/v1/sandboxes/nope/tree"),
                    (.get, "/v1/sandboxes/nope/checkpoints"),
                ] as [(HTTPRequest.Method, String)] {
                    let answer = try await client.call(method, path)
                    #expect(answer.status == 404, "\(path)")
                    #expect(try answer.error().code == "not_found")
                }
                let at = try await client.call(.post, "/v1/sandboxes/\(id)/fork", #"{"at":3}"#)
                #expect(at.status == 404)
                #expect(try at.error().details["checkpoint"] == "3")
                #expect(try await client.call(.post, "/v1/sandboxes/\(id)/rewind", #"{"to":-1}"#).status == 404)
                for (query, field) in [
                    ("limit=0", "limit"), ("kind=x", "kind"), ("state=x", "state"), ("cursor=zz", "cursor"),
                    ("kin=snapshot", "kin"),
                ] {
                    let answer = try await client.call(.get, "/v1/snapshots?\(query)")
                    #expect(answer.status == 400)
                    #expect(try answer.error().details["field"] == field)
                }
                let snapshotFork = try await client.call(.post, "/v1/snapshots/nope/fork", #"{"at":1}"#)
                #expect(try snapshotFork.error().details["field"] == "at")
                let create = try await client.call(.post, "/v1/sandboxes", #"{"on_timeout":"explode"}"#)
                #expect(try create.error().details["field"] == "on_timeout")
            }
        }
    }

    @Test("An export is a file that an import takes, and nothing else is")
    func transfer() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                _ = try await client.call(.post, "/v1/sandboxes/\(id)/snapshots", #"{"name":"gold"}"#)
                let export = try await client.call(.get, "/v1/snapshots/gold/export")
                #expect(export.status == 200)
                #expect(export.headers[.contentType] == "application/octet-stream")
                #expect(export.headers[.contentDisposition] == #"attachment; filename="gold.martlet""#)
                #expect(export.body.count > 1 << 20)
                let taken = try await client.call(.post, "/v1/snapshots/import?name=silver", bytes: export.body)
                #expect(taken.status == 201, "\(taken.text)")
                let silver = try taken.json(SnapshotResource.self)
                #expect(silver.kind == .imported && silver.name == "silver")
                #expect(taken.headers[.location] == "/v1/snapshots/\(silver.id)")
                let none = try await client.call(.post, "/v1/snapshots/import", bytes: Array("nonsense".utf8))
                #expect(none.status == 400)
                let name = try await client.call(.post, "/v1/snapshots/import?name=A", bytes: export.body)
                #expect(try name.error().details["field"] == "name")
                let made = try await client.call(.post, "/v1/sandboxes", #"{"from_snapshot":"silver"}"#)
                #expect(made.status == 201)
                #expect(fixture.node.snapshotIDs.count == 2)
            }
        }
    }

    @Test("An import with a plain key is 403; exporting what is one's own is not")
    func plainKeys() async throws {
        try await ServerFixture.with { fixture in
            let text = try await fixture.plane.keys.make(label: "plain", isAdmin: false)
            try await fixture.routed { client in
                let plain = APIClient(client: client.client, key: text)
                let made = try await plain.call(.post, "/v1/sandboxes", "{}").json(SandboxResource.self)
                let taken = try await plain.call(.post, "/v1/sandboxes/\(made.id)/snapshots", #"{"name":"gold"}"#)
                #expect(taken.status == 201, "\(taken.text)")
                let export = try await plain.call(.get, "/v1/snapshots/gold/export")
                #expect(export.status == 200)
                let refused = try await plain.call(.post, "/v1/snapshots/import?name=silver", bytes: export.body)
                #expect(refused.status == 403, "\(refused.text)")
                #expect(try refused.error().code == "permission_denied")
                let allowed = try await client.call(.post, "/v1/snapshots/import?name=silver", bytes: export.body)
                #expect(allowed.status == 201, "\(allowed.text)")
            }
            #expect(fixture.node.snapshotIDs.count == 2)
        }
    }

    @Test("An export that breaks off is cut, not ended as if whole; an import cut off leaves nothing")
    func brokenTransfers() async throws {
        try await LiveServer.with { live in
            let fixture = live.fixture
            let id = try await fixture.create()
            let gold = try await fixture.plane.snapshots.create(id, .init(), idempotencyKey: nil, caller: .local)
            fixture.node.fail(.export, MartletError(.failedPrecondition, "export: a piece is damaged"))
            let reader = try RawConnection(port: live.port)
            try reader.send(live.head("GET /v1/snapshots/\(gold.id)/export"))
            let answer = try await reader.receiveAll()
            #expect(answer.hasPrefix("HTTP/1.1 200"))
            #expect(answer.lowercased().contains("transfer-encoding: chunked"))
            #expect(!answer.hasSuffix("0\r\n\r\n"))
            fixture.node.fail(.export, nil)
            let whole = try RawConnection(port: live.port)
            try whole.send(live.head("GET /v1/snapshots/\(gold.id)/export", "Connection: close\r\n"))
            #expect(try await whole.receiveAll().hasSuffix("0\r\n\r\n"))

            let writer = try RawConnection(port: live.port)
            let text = "\(TestNode.exportStart) \(TestNode.exportEnd)"
            try writer.send(
                live.head("POST /v1/snapshots/import", "Content-Length: \(text.utf8.count + 10)\r\n") + text)
            writer.finishSending()
            _ = try await writer.receiveAll()
            #expect(fixture.node.snapshotIDs.count == 1)
            #expect(try fixture.plane.snapshots.list(.init(), caller: .local).items.count == 1)
        }
    }

    @Test("The end of a followed process of a recording sandbox is a checkpoint, once")
    func followed() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create(CreateSandboxRequest(record: true))
            try await fixture.routed { client in
                let started = try await client.call(
                    .post, "/v1/sandboxes/\(id)/processes", #"{"cmd":"echo hello"}"#)
                let pid = try started.json(ProcessResource.self).pid
                for _ in 0..<2 {
                    let stream = try await client.call(.get, "/v1/sandboxes/\(id)/processes/\(pid)/stream")
                    #expect(stream.events.last?.name == "exit")
                    let points = try await client.call(.get, "/v1/sandboxes/\(id)/checkpoints")
                    #expect(try points.json(Page<SnapshotResource>.self).items.map(\.number) == [0, 1])
                }
            }
        }
    }
}
