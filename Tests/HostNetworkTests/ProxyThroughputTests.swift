import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// Figures, not proofs: how fast bytes pass, and what a request waits, with the proxy and without.
@Suite(.serialized, .enabled(if: getenv("MARTLET_MEASURE") != nil)) struct ProxyThroughputTests {
    private static let good = "20.0.0.1"
    private static let total = 1 << 30

    private static func seconds(_ body: () async throws -> Void) async throws -> Double {
        let watch = Stopwatch()
        try await body()
        return watch.totalMilliseconds / 1000
    }

    private static func download(_ port: Int, _ request: [UInt8], lead: (StreamSink) -> Void) async throws -> Double {
        let sink = try await StreamSink.connect(port: port)
        lead(sink)
        return try await seconds {
            try await sink.send(request)
            sink.go()
            let received = try await sink.waitForEnd()
            #expect(received >= total)
        }
    }

    @Test(arguments: [443, 80] as [UInt16]) func throughput(port: UInt16) async throws {
        let server = try await StreamServer.start(bytes: Self.total, isHTTP: port == 80)
        try await ProxyRig.with(Networks.allow("good.test")) { rig in
            try await rig.place("good.test", Self.good, ports: [port: server.port])
            let request = port == 80 ? Array("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n".utf8) : HelloMaker().bytes
            for _ in 0..<3 {
                let direct = try await Self.download(server.port, request) { _ in }
                let proxied = try await Self.download(rig.proxyPort, request) {
                    rig.world.lead($0.localPort, to: Destination(address: IPv4(Self.good), port: port))
                }
                print("port \(port): direct \(1024 / direct) MiB/s, proxied \(1024 / proxied) MiB/s")
            }
        }
        await server.stop()
    }

    @Test func latency() async throws {
        let server = try await HTTPServer.start()
        try await ProxyRig.with(Networks.allow("good.test")) { rig in
            try await rig.place("good.test", Self.good, ports: [80: server.port])
            func times(_ connect: () async throws -> Peer) async throws -> (connection: Double, request: Double) {
                var (connections, requests): ([Double], [Double]) = ([], [])
                for _ in 0..<300 {
                    let watch = Stopwatch()
                    let peer = try await connect()
                    try await peer.send("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n")
                    _ = try await peer.read(through: "good.test ")
                    connections.append(watch.totalMilliseconds)
                    let second = Stopwatch()
                    try await peer.send("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n")
                    _ = try await peer.read(through: "good.test ")
                    requests.append(second.totalMilliseconds)
                    await peer.close()
                }
                return (connections.sorted()[150], requests.sorted()[150])
            }
            let direct = try await times { try await Peer.connect(port: server.port) }
            let proxied = try await times { try await rig.connect(Self.good, 80) }
            print("p50 ms: first request direct \(direct.connection), proxied \(proxied.connection)")
            print("p50 ms: next request direct \(direct.request), proxied \(proxied.request)")
        }
        await server.stop()
    }
}
