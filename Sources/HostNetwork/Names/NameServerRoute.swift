import Glibc
import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel

/// How name servers are reached: the host's from the host, those a policy names from inside the sandbox's slot, where
/// they are held to the same rules as all else.
enum NameServerRoute: Sendable {
    case host
    case slot(any SlotConnector)

    /// A UDP socket of its own for one question, so that its port is one the kernel draws at random (RFC 5452); connected,
    /// so that only the server asked can answer and a refusal is heard of.
    func datagramSocket(to server: IPv4Address, port: UInt16) async throws -> Descriptor {
        let descriptor: Descriptor
        switch self {
        case .slot(let connector): descriptor = try await connector.datagramSocket()
        case .host:
            let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            let number = Glibc.socket(AF_INET, type, 0)
            guard number >= 0 else { throw SystemError("socket", "UDP", errno: errno) }
            descriptor = Descriptor(owning: number)
        }
        let result = try SocketAddress.of(server, port: port).withSockAddr { address, size in
            Glibc.connect(descriptor.number, address, socklen_t(size))
        }
        guard result == 0 else { throw SystemError("connect", "\(server):\(port)", errno: errno) }
        return descriptor
    }
}

extension SocketAddress {
    static func of(_ address: SandboxModel.IPv4Address, port: UInt16) throws -> SocketAddress {
        try SocketAddress(
            packedIPAddress: ByteBuffer(integer: address.bits), port: Int(port))
    }
}
