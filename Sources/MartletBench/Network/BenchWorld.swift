import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// The network a benchmark measures in: this process's own namespace is the host, which has one neighbour, a server on
/// public addresses that exist only here. Nothing has a name outside; all of it ends with the process.
struct BenchWorld: Sendable {
    /// What is resolved to the server, and nothing else.
    static let name = "server.bench"
    /// The server as sandboxes reach it: through the host.
    static let server = IPv4Address(93, 184, 216, 10)
    /// The server as a machine on the plain bridge reaches it.
    static let bridged = IPv4Address(93, 184, 217, 10)
    static let bridgedGuest = "93.184.217.2/24"
    /// Where data goes each way and bytes come back, in no protocol that anybody knows; and where HTTP is spoken.
    static let dataPort: UInt16 = 7000
    static let httpPort: UInt16 = 80

    private static let host = IPv4Address(93, 184, 216, 1)
    private static let tap = "benchtap"
    private static let bridge = "benchbr"
    private static let mtu = 1500

    /// The daemon's settings in this world.
    static let settings = ["MARTLET_NETWORK_DNS": "\(server)"]

    private let services: BenchServices
    private let namespace: Descriptor

    /// Makes the world; this process must be alone in its network namespace.
    static func with<Result: Sendable>(
        log: String, _ body: (BenchWorld) async throws -> Result
    ) async throws -> Result {
        let (namespace, sockets) = try await Blocking.run { try makeLinks() }
        guard let ip = ProgramRun.find("ip") else {
            throw MartletError(.failedPrecondition, "bench network: the program ip is missing: install iproute2")
        }
        for words in [
            ["link", "add", bridge, "type", "bridge"], ["link", "set", "benchport", "master", bridge],
            ["link", "set", bridge, "up"],
        ] {
            _ = try await ProgramRun.milliseconds(ip, words, log: log)
        }
        let services = try await BenchServices.start(sockets)
        let result: Result
        do {
            result = try await body(BenchWorld(services: services, namespace: namespace))
        } catch {
            await services.stop()
            throw error
        }
        await services.stop()
        return result
    }

    /// Runs on a thread that is moved about between namespaces, and left where it began.
    private static func makeLinks() throws -> (Descriptor, BenchServices.Sockets) {
        let own = try NetworkNamespace.current()
        defer { try? NetworkNamespace.enter(own) }
        let here = try NetworkLinks()
        try SystemError.check(clinux_loopback_up(), "bring up", "loopback")
        let namespace = try NetworkNamespace.enterNew()
        try SystemError.check(clinux_loopback_up(), "bring up", "loopback")
        let there = try NetworkLinks()
        let macs = (0..<4).map { HardwareAddress(2, 0x62, 0x6e, 0, 0, UInt8($0 + 1)) }
        try here.addPair("uplink", macs[0], peer: "core", macs[1], in: namespace, mtu: mtu)
        try here.addPair("benchport", macs[2], peer: "wire", macs[3], in: namespace, mtu: mtu)
        for (name, mac, address) in [("core", macs[1], server), ("wire", macs[3], bridged)] {
            let link = try there.index(of: name)
            try there.bringUp(link, mac, mtu: mtu)
            try there.addAddress(address.bits, prefixLength: 24, to: link)
        }
        let uplink = try here.index(of: "uplink")
        try here.addAddress(host.bits, prefixLength: 24, to: uplink)
        try here.addDefaultRoute(by: server.bits, on: uplink)
        return (
            namespace,
            BenchServices.Sockets(
                data: try InetSocket.listening(0, dataPort), http: try InetSocket.listening(0, httpPort),
                names: try InetSocket.datagrams(0, 53))
        )
    }

    /// The host's end of the network card of a machine on the plain bridge.
    func bridgedTap(log: String) async throws -> Descriptor {
        let tap = try await Blocking.run {
            Descriptor(owning: try SystemError.check(clinux_tap_open(Self.tap), "open tap", Self.tap))
        }
        let ip = ProgramRun.find("ip") ?? "ip"
        for words in [["link", "set", Self.tap, "master", Self.bridge], ["link", "set", Self.tap, "up"]] {
            _ = try await ProgramRun.milliseconds(ip, words, log: log)
        }
        return tap
    }

    // MARK: Getting there

    /// Goes on as the same program with the same words and one more, alone in a new network namespace. Does not return
    /// unless that fails.
    ///
    /// - Throws: `failedPrecondition` without root.
    package static func startAgain(program: String, arguments: [String], adding word: String) throws {
        do {
            _ = try NetworkNamespace.enterNew()
        } catch {
            throw MartletError(
                .failedPrecondition, "bench network: it needs a network namespace of its own: \(error): run it as root")
        }
        // The namespace is this thread's alone, and the only thread that an exec leaves is this one.
        var words: [UnsafeMutablePointer<CChar>?] = (arguments + [word]).map { strdup($0) }
        words.append(nil)
        execv(program, words)
        throw SystemError("exec", program, errno: errno)
    }
}
