import CLinux
import Glibc

/// The TCP connections of this network namespace, to be looked at and ended.
///
/// Needs the kernel's modules inet_diag and tcp_diag, CONFIG_INET_DIAG_DESTROY, and CAP_NET_ADMIN. For one thread.
public final class TCPConnections: @unchecked Sendable {
    // Sendable to be held by a Sendable owner; the owner sees to it that one thread at a time uses it.
    private static let bufferBytes = 65_536
    private static let mostPasses = 4

    private let socket: Descriptor
    /// Whether an exchange that failed may have left something unread.
    private var mayHoldRemains = false
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferBytes, alignment: 16)

    /// Opens the way to the kernel, which stays open: opening it is not on anyone's path then.
    public init() throws(SystemError) {
        socket = Descriptor(owning: try SystemError.check(clinux_socket_diagnostics(), "socket", "netlink"))
    }

    deinit { buffer.deallocate() }

    /// All connections, open, opening or closing; no listening sockets.
    public func list() throws(SystemError) -> [TCPConnection] {
        var found: [TCPConnection] = []
        for family in InetDiag.families {
            let code = try exchange(InetDiag.list(family: family)) { found.append($0) }
            guard code == 0 else { throw SystemError("list", "connections", errno: code) }
        }
        return found
    }

    /// Ends one connection; fine when it has ended already.
    public func end(_ connection: TCPConnection) throws(SystemError) {
        let code = try exchange(InetDiag.end(connection)) { _ in }
        guard code == 0 || code == ENOENT else { throw SystemError("end", "connection", errno: code) }
    }

    /// Ends every connection with an address that is not loopback.
    ///
    /// A connection that no program holds any more, and that only has its last bytes to send, is beyond some kernels'
    /// reach; it is asked to go and then left alone.
    ///
    /// - Throws: also when one that a program holds cannot be ended.
    public func endAllBeyondLoopback() throws(SystemError) {
        for _ in 0..<TCPConnections.mostPasses {
            var isDone = true
            for connection in try list() where !connection.isLoopback {
                try end(connection)
                if connection.inode != 0 { isDone = false }
            }
            if isDone { return }
        }
        throw SystemError("end", "connections", errno: EBUSY)
    }

    /// Sends a request and takes its answer; the result is the kernel's error number, or 0.
    private func exchange(
        _ request: [UInt8], _ found: (TCPConnection) -> Void
    ) throws(SystemError) -> Int32 {
        while mayHoldRemains, clinux_read(socket.number, buffer.baseAddress, buffer.count) > 0 {}
        mayHoldRemains = true
        try socket.writeAll(request)
        // The kernel answers before the write returns, so there is always something to read.
        while true {
            let count = try SystemError.check(
                clinux_read(socket.number, buffer.baseAddress, buffer.count), "read", "netlink")
            guard let answers = InetDiag.answers(in: UnsafeRawBufferPointer(rebasing: buffer[0..<Int(count)])) else {
                throw SystemError("read", "netlink", errno: EBADMSG)
            }
            for answer in answers {
                switch answer {
                case .connection(let connection): found(connection)
                case .done(let code):
                    mayHoldRemains = false
                    return code
                }
            }
        }
    }
}
