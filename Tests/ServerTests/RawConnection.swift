import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel

/// A connection driven byte by byte: a client that does what no good client does.
final class RawConnection: Sendable {
    private let descriptor: Descriptor

    /// Connects over loopback.
    init(port: Int) throws {
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        descriptor = Descriptor(owning: number)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw SystemError("connect", "127.0.0.1:\(port)", errno: errno) }
    }

    /// Connects to a unix socket.
    init(path: String) throws {
        let number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        descriptor = Descriptor(owning: number)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw SystemError("connect", path, errno: errno) }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }
    func send(_ bytes: [UInt8]) throws { try descriptor.writeAll(bytes) }

    /// Says that no more comes, and goes on listening.
    func finishSending() { shutdown(descriptor.number, Int32(SHUT_WR)) }

    func close() { descriptor.close() }

    /// Everything until the server closes.
    func receiveAll() async throws -> String {
        try await receive { _ in false }
    }

    /// Everything until a text has come.
    func receive(until text: String) async throws -> String {
        try await receive { $0.contains(text) }
    }

    private func receive(until isEnough: @escaping @Sendable (String) -> Bool) async throws -> String {
        let descriptor = descriptor
        // A thread may block here; the cooperative pool may not.
        return try await NIOThreadPool.singleton.runIfActive {
            var bytes: [UInt8] = []
            while !isEnough(String(decoding: bytes, as: UTF8.self)) {
                guard let piece = try? descriptor.read(upTo: 65_536), !piece.isEmpty else { break }
                bytes += piece
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}
