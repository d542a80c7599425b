import CLinux
import Glibc
import LinuxSystem

/// A TCP service on loopback that tests drive by hand; it blocks, so use it on a queue of its own.
final class Service: Sendable {
    private let listener: Descriptor
    let port: UInt16

    init(ipv6: Bool = false) throws {
        let number = socket(
            ipv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        listener = Descriptor(owning: number)
        var v4 = sockaddr_in()
        v4.sin_family = sa_family_t(AF_INET)
        v4.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var v6 = sockaddr_in6()
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_addr = in6addr_loopback
        let isBound =
            ipv6
            ? Service.withAddress(&v6) { bind(number, $0, $1) } : Service.withAddress(&v4) { bind(number, $0, $1) }
        guard isBound == 0, listen(number, 256) == 0 else { throw SystemError("listen", "loopback", errno: errno) }
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        // The port is at the same place in both kinds of address.
        _ = withUnsafeMutablePointer(to: &v6) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(number, $0, &size) }
        }
        port = UInt16(bigEndian: v6.sin6_port)
    }

    private static func withAddress<A>(
        _ address: inout A, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<A>.size))
            }
        }
    }

    /// The next connection.
    func accept() throws -> Descriptor {
        guard clinux_poll_one(listener.number, Int16(POLLIN), 60_000) > 0 else {
            throw SystemError("accept", "loopback", errno: ETIMEDOUT)
        }
        return Descriptor(
            owning: try SystemError.check(Glibc.accept(listener.number, nil, nil), "accept", "loopback"))
    }

    /// Takes no more connections; the port is free again.
    func close() { listener.close() }
}

extension Descriptor {
    /// Everything until the peer sends no more.
    func readToEnd() throws -> [UInt8] { try readAll(limit: .max) }

    /// Says that no more is sent.
    func finishSending() { shutdown(number, Int32(SHUT_WR)) }
}
