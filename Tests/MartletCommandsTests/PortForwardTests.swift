import ArgumentParser
import MartletAPI
import MartletClient
import NIOCore
import NIOPosix
import SandboxModel
import Testing

@testable import MartletCommands

@Suite(.timeLimit(.minutes(1))) struct PortForwardTests {
    /// Forwards ports through a server of tunnels for as long as `body` takes.
    private func forwarding(
        _ mappings: [String], _ answer: @escaping @Sendable (String) -> String = { _ in TunnelServer.accepted },
        _ body: @escaping @Sendable ([PortListener], TunnelServer) async throws -> Void
    ) async throws {
        try await TunnelServer.with(answer) { server in
            let configuration = ClientConfiguration(endpoint: .url("http://127.0.0.1:\(server.port)"))
            try await MartletClient.with(configuration) { client in
                let forwarder = PortForwarder(client: client, sandbox: "web")
                let listeners = try await forwarder.listen(
                    on: "127.0.0.1", mappings.compactMap { PortMapping(argument: $0) })
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await forwarder.serve(listeners) }
                    group.addTask { try await body(listeners, server) }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            }
        }
    }

    /// Sends a text to a port of this machine, ends sending, and reads to the end.
    private func exchange(_ port: Int, _ text: String) async throws -> String {
        let channel = try await ClientBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: text))
            outbound.finish()
            var all = ""
            for try await bytes in inbound { all += String(buffer: bytes) }
            return all
        }
    }

    @Test func severalPortsLeadWhereTheyShould() async throws {
        try await forwarding(["0:80", ":443"]) { listeners, server in
            #expect(listeners.count == 2)
            #expect(listeners.allSatisfy { $0.port > 0 && $0.address == "127.0.0.1" })
            #expect(listeners[0].description == "127.0.0.1:\(listeners[0].port)")
            for listener in listeners {
                let answer = try await exchange(listener.port, "hello \(listener.mapping.remote)")
                #expect(answer == "HELLO \(listener.mapping.remote)")
            }
            #expect(server.requests.map { $0.contains("tunnel?port=80 ") } == [true, false])
            #expect(server.requests[1].contains("/v1/sandboxes/web/tunnel?port=443 "))
        }
    }

    @Test func manyConnectionsAtOnceDoNotMix() async throws {
        try await forwarding(["0:80"]) { listeners, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        let answer = try await exchange(listeners[0].port, "n\(number)")
                        #expect(answer == "N\(number)")
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func aPortThatIsClosedInTheSandboxEndsThatConnectionAlone() async throws {
        let refusal = TunnelServer.refusal("503 Service Unavailable", "unavailable", reason: "port_closed")
        try await forwarding(
            ["0:80", "0:81"], { $0.contains("port=80 ") ? refusal : TunnelServer.accepted }
        ) { listeners, _ in
            for _ in 0..<2 {
                // Closed without a byte, or reset: both are an end.
                let refused = try? await exchange(listeners[0].port, "x")
                #expect(refused == nil || refused == "")
                let taken = try await exchange(listeners[1].port, "x")
                #expect(taken == "X")
            }
        }
    }

    @Test func withoutTheSandboxItEnds() async throws {
        let error = await #expect(throws: MartletError.self) {
            try await forwarding(["0:80"], { _ in TunnelServer.refusal("404 Not Found", "not_found") }) {
                listeners, _ in
                _ = try? await exchange(listeners[0].port, "x")
                // Ends when the forwarder does.
                try await Task.sleep(for: .seconds(60))
            }
        }
        #expect(error?.code == .notFound)
    }

    @Test func aPortThatIsTakenIsNamedAndTheOthersAreGivenBack() async throws {
        try await forwarding(["0:80"]) { listeners, server in
            let taken = listeners[0].port
            let configuration = ClientConfiguration(endpoint: .url("http://127.0.0.1:\(server.port)"))
            try await MartletClient.with(configuration) { client in
                let other = PortForwarder(client: client, sandbox: "web")
                let error = await #expect(throws: MartletError.self) {
                    _ = try await other.listen(
                        on: "127.0.0.1", ["0:81", "\(taken):80"].compactMap { PortMapping(argument: $0) })
                }
                #expect(error?.message.contains("127.0.0.1:\(taken)") == true)
            }
        }
    }

    @Test func mappingsAreReadOrRefused() {
        let good = [("8080:80", 8080, 80), ("80", 80, 80), ("0:80", 0, 80), (":80", 0, 80), ("65535:1", 65_535, 1)]
        for (text, local, remote) in good {
            let mapping = PortMapping(argument: text)
            #expect(mapping?.local == local && mapping?.remote == remote, "\(text)")
        }
        for text in ["", ":", "80:", "0", "8080:0", "65536:1", "1:65536", "-1:80", "+1:80", "a:b", "1:2:3", "1.5:80"] {
            #expect(PortMapping(argument: text) == nil, "\(text)")
        }
    }

    @Test func theCommandsTakeWhatTheirHelpSays() throws {
        let forward = try #require(
            try MartletCommand.parseAsRoot(["port-forward", "web", "8080:80", "443", "--address", "::1", "-o", "json"])
                as? PortForwardCommand)
        #expect(forward.ports.count == 2 && forward.address == "::1" && forward.output.format == .json)
        let publish = try #require(
            try MartletCommand.parseAsRoot(["port", "publish", "web", "80", "--public", "--ttl", "1.5m", "--no-wake"])
                as? PortPublishCommand)
        #expect(publish.request.port == 80 && publish.request.visibility == .public)
        #expect(publish.request.ttlSeconds == 90 && publish.request.wake == false)
        let plain = try #require(
            try MartletCommand.parseAsRoot(["port", "publish", "web", "80"]) as? PortPublishCommand)
        #expect(plain.request.visibility == .private && plain.request.ttlSeconds == nil && plain.request.wake == nil)
        #expect(try MartletCommand.parseAsRoot(["ports", "list", "web"]) is PortListCommand)
        #expect(try MartletCommand.parseAsRoot(["port", "rm", "web", "80", "81"]) is PortRemoveCommand)
        for line in ["port-forward web", "port-forward web x", "port publish web", "port publish web x", "port rm web"]
        {
            #expect(throws: (any Error).self, "\(line)") {
                try MartletCommand.parseAsRoot(line.split(separator: " ").map(String.init))
            }
        }
    }
}
