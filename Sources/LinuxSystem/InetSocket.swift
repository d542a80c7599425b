import CLinux
import Glibc

/// IPv4 sockets of the thread's network namespace, all non-blocking. Addresses are in host byte order.
public enum InetSocket {
    /// A TCP socket that takes connections.
    public static func listening(_ address: UInt32, _ port: UInt16, backlog: Int32 = 512) throws(SystemError)
        -> Descriptor
    {
        Descriptor(
            owning: try SystemError.check(
                clinux_inet_socket(Int32(SOCK_STREAM.rawValue), address, port, backlog, 0), "listen", "port \(port)"))
    }

    /// A UDP socket, bound unless the port is 0.
    public static func datagrams(_ address: UInt32 = 0, _ port: UInt16 = 0, mark: UInt32 = 0) throws(SystemError)
        -> Descriptor
    {
        Descriptor(
            owning: try SystemError.check(
                clinux_inet_socket(Int32(SOCK_DGRAM.rawValue), address, port, 0, mark), "bind", "port \(port)"))
    }

    /// A TCP socket on its way to an address: `isConnected` says whether it is there already; else it becomes writable
    /// once it is, or has failed, and `failure` tells which.
    public static func connecting(
        to address: UInt32, _ port: UInt16, mark: UInt32
    ) throws(SystemError) -> (socket: Descriptor, isConnected: Bool) {
        let socket = Descriptor(
            owning: try SystemError.check(
                clinux_inet_socket(Int32(SOCK_STREAM.rawValue), 0, 0, 0, mark), "socket", "port \(port)"))
        let result = try SystemError.check(
            clinux_inet_connect(socket.number, address, port), "connect", "port \(port)")
        return (socket, result == 1)
    }

    /// Throws what became of a connection that has failed.
    public static func check(_ socket: Descriptor) throws(SystemError) {
        try SystemError.check(clinux_socket_error(socket.number), "connect", "socket")
    }
}
