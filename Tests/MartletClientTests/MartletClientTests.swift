import Glibc
import MartletAPI
import NIOCore
import SandboxModel
import Testing

@testable import MartletClient

@Suite(.timeLimit(.minutes(1))) struct MartletClientTests {
    private static let exit = """
        event: exit
        data: {"exit_code":3,"timed_out":false,"duration_ms":1,"cpu_ms":1,"max_resident_bytes":1,"output_bytes":10}


        """

    private func withServer<Result: Sendable>(
        _ answers: [String], reconnect: Duration = .seconds(30),
        _ body: (MartletClient, ScriptedServer) async throws -> Result
    ) async throws -> Result {
        let directory = try TemporaryDirectory()
        let server = try ScriptedServer(in: directory.path, answers: answers)
        var configuration = ClientConfiguration(endpoint: .unixSocket(path: server.socketPath), apiKey: "mk_1")
        configuration.reconnectTimeout = reconnect
        return try await MartletClient.with(configuration) { try await body($0, server) }
    }

    private func collect(_ events: ProcessEvents) async throws -> (output: String, lost: UInt64, code: Int32?) {
        var (output, lost, code) = ("", UInt64(0), Int32?.none)
        for try await event in events {
            switch event {
            case .output(_, let bytes): output += String(decoding: bytes, as: UTF8.self)
            case .lost(let bytes): lost += bytes
            case .exit(let exit): code = exit.exitCode
            }
        }
        return (output, lost, code)
    }

    @Test func aDeletedSnapshotIsGoneOrToldOf() async throws {
        let kept = """
            {"id":"c1","kind":"snapshot","sandbox":"s1","template":"base","isolation":{"engine":"qemu",\
            "accelerator":"tcg","level":"emulated-vm"},"cpus":1,"memory_mb":256,"disk_mb":2048,\
            "captured_at":"2026-11-23T20:15:00.125Z","pause_ms":9.5,"memory_bytes":1,"disk_bytes":2,"metadata":{},\
            "state":"deleting","in_use_by":["s2"]}
            """
        let gone = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
        try await withServer([gone, ScriptedServer.json("202 Accepted", kept)]) { client, server in
            #expect(try await client.deleteSnapshot("gold") == nil)
            let told = try #require(try await client.deleteSnapshot("gold"))
            #expect(told.state == .deleting)
            #expect(told.inUseBy == ["s2"])
            #expect(server.requests.allSatisfy { $0.hasPrefix("DELETE /v1/snapshots/gold ") })
        }
    }

    @Test func anExportThatBreaksOffIsAnError() async throws {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        let answers = [head + "5\r\nhello\r\n", head + "5\r\nhello\r\n0\r\n\r\n"]
        try await withServer(answers) { client, _ in
            let broken = try await client.exportSnapshot("gold")
            await #expect(throws: MartletError.self) { for try await _ in broken {} }
            var whole = ""
            for try await piece in try await client.exportSnapshot("gold") {
                whole += String(decoding: piece.readableBytesView, as: UTF8.self)
            }
            #expect(whole == "hello")
        }
    }

    @Test func aBrokenStreamIsTakenUpAgainAtTheByteWhereItBroke() async throws {
        let first = "event: stdout\ndata: {\"offset\":0,\"text\":\"hello\"}\n\nevent: stderr\ndata: {\"off"
        let second = "event: stderr\ndata: {\"offset\":5,\"base64\":\"d29ybGQ=\"}\n\n" + Self.exit
        let answers = [ScriptedServer.stream(first), ScriptedServer.stream(second)]
        try await withServer(answers) { client, server in
            let result = try await collect(client.processEvents("box", 7))
            #expect(result.output == "helloworld")
            #expect(result.code == 3)
            let lines = server.requests.map { $0.prefix { $0 != "\r\n" } }
            #expect(
                lines == [
                    "GET /v1/sandboxes/box/processes/7/stream?lossless=true&from=0 HTTP/1.1",
                    "GET /v1/sandboxes/box/processes/7/stream?lossless=true&from=5 HTTP/1.1",
                ])
            #expect(server.requests.allSatisfy { $0.lowercased().contains("authorization: bearer mk_1") })
        }
    }

    @Test func bytesSeenTwiceAreGivenOnceAndMissingOnesAreTold() async throws {
        let stream = """
            event: stdout
            data: {"offset":0,"text":"abcd"}

            event: stdout
            data: {"offset":2,"text":"cdef"}

            event: stdout
            data: {"offset":3,"text":"de"}

            event: stdout
            data: {"offset":9,"text":"j"}


            """
        try await withServer([ScriptedServer.stream(stream + Self.exit)]) { client, _ in
            let result = try await collect(client.processEvents("box", 7))
            #expect(result.output == "abcdefj")
            #expect(result.lost == 3)
        }
    }

    @Test func theErrorThatEndedTheStreamIsTheOneTheCallerGets() async throws {
        let died = """
            event: error
            data: {"error":{"code":"unavailable","message":"sandbox: it died","details":{},"request_id":"r"}}


            """
        let gone = #"{"error":{"code":"not_found","message":"sandbox: gone","details":{},"request_id":"r"}}"#
        let answers = [ScriptedServer.stream(died), ScriptedServer.json("404 Not Found", gone)]
        try await withServer(answers) { client, _ in
            let error = await #expect(throws: MartletError.self) { try await collect(client.processEvents("box", 7)) }
            #expect(error?.message == "sandbox: it died")
        }
    }

    @Test func aServerThatStaysAwayIsAnErrorInTheEnd() async throws {
        let first = "event: stdout\ndata: {\"offset\":0,\"text\":\"hello\"}\n\n"
        try await withServer([ScriptedServer.stream(first)], reconnect: .milliseconds(200)) { client, _ in
            let error = await #expect(throws: MartletError.self) { try await collect(client.processEvents("box", 7)) }
            #expect(error?.code == .unavailable)
        }
    }

    @Test func errorsOfTheServerKeepCodeTextAndDetails() async throws {
        let body = #"{"error":{"code":"conflict","message":"name: taken","details":{"a":"b"},"request_id":"r1"}}"#
        try await withServer([ScriptedServer.json("409 Conflict", body)]) { client, _ in
            let error = await #expect(throws: MartletError.self) { try await client.deleteSandbox("x") }
            #expect(
                error == MartletError(.conflict, "name: taken", details: ["a": "b", "request_id": "r1"]))
        }
    }

    @Test func aCodeOfTheFutureBecomesInternalWithItsText() async throws {
        let body = #"{"error":{"code":"frozen","message":"it is cold","details":{},"request_id":""}}"#
        try await withServer([ScriptedServer.json("418 Teapot", body)]) { client, _ in
            let error = await #expect(throws: MartletError.self) { try await client.deleteSandbox("x") }
            #expect(error == MartletError(.internal, "frozen: it is cold"))
        }
    }

    @Test func anAnswerThatIsNotOursIsToldAsItIs() async throws {
        let answers = [ScriptedServer.json("502 Bad Gateway", "<html>"), ScriptedServer.json("200 OK", "{\"no\":1}")]
        try await withServer(answers) { client, _ in
            let gateway = await #expect(throws: MartletError.self) { try await client.deleteSandbox("x") }
            #expect(gateway?.code == .unavailable)
            #expect(gateway?.message.contains("502: <html>") == true)
            let strange = await #expect(throws: MartletError.self) { try await client.host() }
            #expect(strange?.code == .internal)
        }
    }

    @Test func aGetIsSentAgainWhenItsConnectionBrokeBeforeAnAnswer() async throws {
        let list = #"{"items":[],"next_cursor":null}"#
        try await withServer(["", ScriptedServer.json("200 OK", list)]) { client, server in
            let found = try await client.allSandboxes()
            #expect(found.isEmpty)
            #expect(server.requests.count == 2)
        }
    }

    @Test func aDeleteIsNotSentTwice() async throws {
        try await withServer(["", ScriptedServer.json("204 No Content", "")]) { client, server in
            let error = await #expect(throws: MartletError.self) { try await client.deleteSandbox("x") }
            #expect(error?.code == .unavailable)
            #expect(server.requests.count == 1)
        }
    }

    @Test func nobodyThereIsToldSo() async throws {
        let directory = try TemporaryDirectory()
        let configuration = ClientConfiguration(endpoint: .unixSocket(path: directory.path + "/api.sock"))
        try await MartletClient.with(configuration) { client in
            let error = await #expect(throws: MartletError.self) { try await client.checkReady() }
            #expect(error?.code == .unavailable)
            #expect(error.map(MartletClient.isNobodyListening) == true)
            #expect(error?.message.contains("martlet serve") == true)
        }
    }

    @Test func aSocketBelowALongPathIsReached() async throws {
        let directory = try TemporaryDirectory()
        let deep = directory.path + "/" + String(repeating: "d", count: 120)
        #expect(mkdir(deep, 0o700) == 0)
        let server = try ScriptedServer(in: deep, answers: [ScriptedServer.json("200 OK", "")])
        let configuration = ClientConfiguration(endpoint: .unixSocket(path: server.socketPath))
        try await MartletClient.with(configuration) { try await $0.checkReady() }
    }
}
