import Glibc
import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel
import Synchronization
import Testing

@testable import HostNetwork

/// Many connections, long streams, and what is left when they are over.
@Suite(.serialized, .timeLimit(.minutes(3))) struct ProxyLoadTests {
    private static let good = "20.0.0.1"

    @Test func twoHundredConnectionsAtOnceEachGetTheirOwn() async throws {
        let server = try await HTTPServer.start()
        try await ProxyRig.with(Networks.allow("*.good.test")) { rig in
            for number in 0..<20 { try await rig.place("h\(number).good.test", Self.good, ports: [80: server.port]) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let peer = try await rig.connect(Self.good, 80)
                        let host = "h\(number % 20).good.test"
                        for round in 0..<3 {
                            try await peer.send("GET /\(number)-\(round) HTTP/1.1\r\nHost: \(host)\r\n\r\n")
                            let answer = try await peer.read(through: "\(host) ")
                            #expect(answer.hasSuffix("GET /\(number)-\(round) \(host) "))
                        }
                        await peer.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(server.seen.count == 600 && rig.world.denials.isEmpty)
        }
        await server.stop()
    }

    @Test(arguments: [443, 80] as [UInt16]) func aLongStreamNeedsNoMoreMemoryThanAShortOne(port: UInt16) async throws {
        let total = 256 << 20
        let server = try await StreamServer.start(bytes: total, isHTTP: port == 80)
        try await ProxyRig.with(Networks.allow("good.test")) { rig in
            try await rig.place("good.test", Self.good, ports: [port: server.port])
            let sink = try await StreamSink.connect(port: rig.proxyPort)
            rig.world.lead(sink.localPort, to: Destination(address: IPv4(Self.good), port: port))
            try await sink.send(
                port == 80 ? Array("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n".utf8) : HelloMaker().bytes)
            // The reader stands still long before the end; what has been read by then is bounded.
            try await sink.waitForFirst()
            let before = Self.residentBytes
            try await server.waitUntilStuck()
            #expect(server.written < 64 << 20)
            #expect(Self.residentBytes - before < 48 << 20)
            sink.go()
            let received = try await sink.waitForEnd()
            #expect(received >= total)
            #expect(Self.residentBytes - before < 64 << 20)
        }
        await server.stop()
    }

    @Test func nothingIsLeftOpenAfterwards() async throws {
        func round() async throws {
            let server = try await PeerServer.start()
            try await ProxyRig.with(Networks.allow("good.test:443,7000")) { rig in
                try await rig.place("good.test", Self.good, ports: [443: server.port, 7000: server.port])
                var peers: [Peer] = []
                for number in 0..<40 {
                    let peer = try await rig.connect(
                        number % 5 == 0 ? "20.9.9.9" : Self.good, number % 2 == 0 ? 443 : 7000)
                    let hello = number % 3 == 0 ? HelloMaker(serverName: "evil.test") : HelloMaker()
                    try? await peer.send(hello.bytes)
                    if number % 4 == 0 { await peer.close() }
                    peers.append(peer)
                }
                // The proxy ends while some connections are being opened, some are refused, some run.
                await rig.proxy.stop()
                for peer in peers { await peer.close() }
            }
            await server.stop()
        }
        try await round()
        let before = Self.openDescriptors
        for _ in 0..<10 { try await round() }
        // Other suites run beside this one: what grows with the rounds is a leak.
        #expect(Self.openDescriptors < before + 200)
    }

    private static var openDescriptors: Int {
        var count = 0
        guard let directory = opendir("/proc/self/fd") else { return 0 }
        while readdir(directory) != nil { count += 1 }
        closedir(directory)
        return count
    }

    private static var residentBytes: Int {
        guard let file = try? Descriptor.open("/proc/self/statm", O_RDONLY), let bytes = try? file.readAll() else {
            return 0
        }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * 4096
    }
}
