import CLinux
import Glibc
import LinuxSystem
import Logging
import NIOPosix
import SandboxModel
import Testing

@testable import HostNetwork

/// A host with an internet, both in namespaces of their own: nothing of the machine's own network is touched.
final class NetworkLab: Sendable {
    static let hostAddress = IPv4Address(5, 5, 5, 1)
    /// Addresses of the internet's one machine.
    static let internetAddress = IPv4Address(5, 5, 5, 2)
    static let otherAddress = IPv4Address(6, 6, 6, 6)
    /// Special addresses that answer all the same, if anything gets there.
    static let metadataAddress = IPv4Address(169, 254, 169, 254)
    static let privateAddress = IPv4Address(10, 9, 9, 9)

    let thread: NetworkThread
    let host: Descriptor
    let internet: Descriptor
    let directory: String

    private init(thread: NetworkThread, host: Descriptor, internet: Descriptor, directory: String) {
        self.thread = thread
        self.host = host
        self.internet = internet
        self.directory = directory
    }

    /// Makes a lab for as long as `work` takes.
    static func with(_ work: (NetworkLab) async throws -> Void) async throws {
        let thread = try NetworkThread(home: nil, name: "lab")
        var template = Array("/tmp/martlet-lab-XXXXXX".utf8CString)
        let path = mkdtemp(&template)
        let directory = String(cString: try #require(path))
        defer { removeTree(directory) }
        let lab = try await thread.run(.handOut) {
            let home = try NetworkNamespace.current()
            defer { try? NetworkNamespace.enter(home) }
            let internet = try NetworkNamespace.enterNew()
            let outside = try NetworkLinks()
            let host = try NetworkNamespace.enterNew()
            let inside = try NetworkLinks()
            // New namespaces begin as the machine's own is.
            try NetworkNamespace.set("ipv4/ip_forward", to: "0")
            let macs = (HardwareAddress(2, 0, 0, 0, 0, 1), HardwareAddress(2, 0, 0, 0, 0, 2))
            try inside.addPair("wan0", macs.0, peer: "host0", macs.1, in: internet, mtu: 1500)
            let wan = try inside.index(of: "wan0")
            try inside.addAddress(hostAddress.bits, prefixLength: 24, to: wan)
            try inside.addDefaultRoute(by: internetAddress.bits, on: wan)
            let peer = try outside.index(of: "host0")
            try outside.bringUp(peer, macs.1, mtu: 1500)
            try outside.addAddress(internetAddress.bits, prefixLength: 24, to: peer)
            for address in [otherAddress, metadataAddress, privateAddress] {
                try outside.addAddress(address.bits, prefixLength: 32, to: peer)
            }
            return NetworkLab(thread: thread, host: host, internet: internet, directory: directory)
        }
        try await work(lab)
    }

    private static func removeTree(_ path: String) {
        for name in ["subnet"] { unlink("\(path)/state/\(name)") }
        if let claims = opendir("\(path)/claims") {
            while let entry = readdir(claims) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink("\(path)/claims/\(name)")
            }
            closedir(claims)
        }
        for folder in ["/state", "/claims", ""] { rmdir(path + folder) }
    }

    var configuration: HostNetworkConfiguration {
        HostNetworkConfiguration(
            directory: directory + "/state", nameServers: [NetworkLab.internetAddress], pooledSlots: 0,
            claims: directory + "/claims", hostNamespace: host)
    }

    func open(_ configuration: HostNetworkConfiguration? = nil) async throws -> HostNetwork {
        try await HostNetwork.open(
            configuration ?? self.configuration, logger: Logger(label: "lab") { _ in SwiftLogNoOpLogHandler() },
            group: MultiThreadedEventLoopGroup.singleton)
    }

    /// A TCP socket that listens in a namespace of the lab.
    func listen(on address: IPv4Address, _ port: UInt16, in namespace: Descriptor? = nil) async throws -> Descriptor {
        try await thread.run(in: namespace ?? internet, .handOut) { try InetSocket.listening(address.bits, port) }
    }

    func datagrams(on address: IPv4Address, _ port: UInt16, in namespace: Descriptor? = nil) async throws -> Descriptor
    {
        try await thread.run(in: namespace ?? internet, .handOut) { try InetSocket.datagrams(address.bits, port) }
    }

    /// Who sent a datagram to a socket of the lab; waits for it.
    func peer(of socket: Descriptor) async throws -> sockaddr_in {
        try await thread.run(.background) {
            guard clinux_poll_one(socket.number, Int16(POLLIN), 10_000) > 0 else {
                throw SystemError("receive", "datagram", errno: ETIMEDOUT)
            }
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            var bytes = [UInt8](repeating: 0, count: 2048)
            let count = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(socket.number, &bytes, bytes.count, 0, $0, &size)
                }
            }
            try SystemError.check(count < 0 ? -Int(errno) : count, "receive", "datagram")
            return peer
        }
    }

    /// Takes the next connection of a listening socket and gives who it is from.
    func accept(_ listener: Descriptor) async throws -> sockaddr_in {
        try await thread.run(.background) {
            guard clinux_poll_one(listener.number, Int16(POLLIN), 10_000) > 0 else {
                throw SystemError("accept", "connection", errno: ETIMEDOUT)
            }
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let number = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.accept(listener.number, $0, &size) }
            }
            close(try SystemError.check(number < 0 ? -errno : number, "accept", "connection"))
            return peer
        }
    }

    func send(_ socket: Descriptor, to peer: sockaddr_in, _ bytes: [UInt8]) async throws {
        try await thread.run(.background) {
            var peer = peer
            let count = withUnsafePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(socket.number, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try SystemError.check(count < 0 ? -Int(errno) : count, "send", "datagram")
        }
    }

    /// Names of the links at the host.
    func links() async throws -> [String] {
        try await thread.run(in: host, .handOut) { try NetworkLinks().all().map(\.name) }
    }

    /// Names of the host's tables of rules.
    func tables() async throws -> [String] {
        let text = try await nft("list tables")
        return text.split(separator: "\n").map(String.init)
    }

    /// What nft answers in a namespace of the lab.
    func nft(_ command: String, in namespace: Descriptor? = nil) async throws -> String {
        let nftables = try Nftables.load()
        let place = namespace ?? host
        return try await thread.run(.handOut) { try nftables.query(command, in: place) }
    }

    /// Whether real slots can be made here.
    static let isPossible: Bool = {
        guard geteuid() == 0, (try? Nftables.load()) != nil else { return false }
        return access("/dev/net/tun", R_OK | W_OK) == 0
    }()

    static let need: Comment = "needs root, /dev/net/tun and libnftables"
}
