import MartletClient
import NIOCore
import SandboxModel
import Testing

@Suite("Tunnels") struct TunnelTests {
    private func client(_ server: TunnelServer, path: String = "", key: String? = "k") -> ClientConfiguration {
        ClientConfiguration(endpoint: .url("http://127.0.0.1:\(server.port)\(path)"), apiKey: key)
    }

    @Test("Bytes pass both ways, what came with the answer included, and each end closes on its own")
    func passing() async throws {
        try await TunnelServer.with({ _ in TunnelServer.accepted + "early " }) { server in
            try await MartletClient.with(client(server, path: "/base")) { client in
                let all = try await client.withTunnel("web", port: 80) { tunnel in
                    try await tunnel.write(ByteBuffer(string: "hello"))
                    try await tunnel.finishWriting()
                    var text = ""
                    for try await bytes in tunnel { text += String(buffer: bytes) }
                    return text
                }
                #expect(all == "early HELLO")
            }
            let head = try #require(server.requests.first)
            #expect(
                head.hasPrefix(
                    "GET /base/v1/sandboxes/web/tunnel?port=80 HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n"))
            #expect(head.contains("\r\nConnection: Upgrade\r\nUpgrade: martlet-tcp\r\nAuthorization: Bearer k\r\n"))
        }
    }

    @Test("A refusal is the server's error, however it comes")
    func refusals() async throws {
        let answers: [(String, MartletError.Code, String?)] = [
            (
                TunnelServer.refusal("503 Service Unavailable", "unavailable", reason: "port_closed"), .unavailable,
                "port_closed"
            ),
            (TunnelServer.refusal("404 Not Found", "not_found"), .notFound, nil),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\nproxy", .unavailable, nil), ("HTTP/1.1 200 OK\r\n\r\n", .internal, nil),
            ("", .unavailable, "connection_broken"), ("no HTTP at all", .unavailable, "connection_broken"),
        ]
        for (answer, code, reason) in answers {
            try await TunnelServer.with({ _ in answer }) { server in
                let error = await #expect(throws: MartletError.self) {
                    try await MartletClient.with(client(server)) { client in
                        try await client.withTunnel("web", port: 80) { _ in Issue.record("it was taken for a tunnel") }
                    }
                }
                #expect(error?.code == code, "\(answer): \(String(describing: error))")
                #expect(error?.details["reason"] == reason)
            }
        }
    }

    @Test("Where nothing listens is told as for every other call")
    func nobody() async throws {
        // Port 1 (tcpmux) is nobody's.
        let configuration = ClientConfiguration(endpoint: .url("http://127.0.0.1:1"))
        let error = await #expect(throws: MartletError.self) {
            try await MartletClient.with(configuration) { try await $0.withTunnel("web", port: 80) { _ in } }
        }
        #expect(error.map { MartletClient.isNobodyListening($0) } == true)
        let missing = ClientConfiguration(endpoint: .unixSocket(path: "/nonexistent/api.sock"))
        let other = await #expect(throws: MartletError.self) {
            try await MartletClient.with(missing) { try await $0.withTunnel("web", port: 80) { _ in } }
        }
        #expect(other.map { MartletClient.isNobodyListening($0) } == true)
    }
}
