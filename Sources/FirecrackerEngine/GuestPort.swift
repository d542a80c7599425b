import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// The way to a port a guest listens at: Firecracker's vsock device answers for it on a unix socket.
///
/// `CONNECT PORT\n` goes out, `OK NUMBER\n` comes back, and from then on the bytes are the guest's
/// (Firecracker's docs/vsock.md).
enum GuestPort {
    /// `OK `, ten digits, and the line's end.
    private static let longestAnswer = 14

    /// Connects, and blocks the thread until the guest has taken it.
    ///
    /// - Throws: `unavailable` when it is refused, `timeout`, or `internal` for another answer than the protocol's.
    static func connect(
        directory: String, socket: String, port: UInt32, timeout: Duration
    ) throws -> Descriptor {
        let connection: Descriptor
        do {
            connection = try UnixSocket.connect(in: try Descriptor.openDirectory(directory), name: socket)
        } catch {
            throw MartletError(.unavailable, "firecracker: guest port \(port): \(error)")
        }
        try handshake(connection, port: port, timeout: timeout)
        return connection
    }

    static func handshake(_ connection: Descriptor, port: UInt32, timeout: Duration) throws {
        let end = Clocks.monotonicNanoseconds + timeout.inNanoseconds
        do {
            try connection.writeAll(Array("CONNECT \(port)\n".utf8))
        } catch {
            throw MartletError(.unavailable, "firecracker: guest port \(port): \(error)")
        }
        // Byte by byte: what follows the line is the guest's already.
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            guard line.count < longestAnswer else {
                throw MartletError(.internal, "firecracker: guest port \(port): its answer is no 'OK'")
            }
            let left = (end - Clocks.monotonicNanoseconds) / 1_000_000
            guard left > 0, clinux_poll_one(connection.number, Int16(POLLIN), Int32(clamping: left)) > 0 else {
                throw MartletError(.timeout, "firecracker: guest port \(port): no answer in time")
            }
            let byte = (try? connection.read(upTo: 1)) ?? []
            guard let byte = byte.first else {
                throw MartletError(.unavailable, "firecracker: guest port \(port): nothing listens there")
            }
            line.append(byte)
        }
        let text = String(decoding: line.dropLast(), as: UTF8.self)
        guard text.hasPrefix("OK "), UInt32(text.dropFirst(3)) != nil else {
            throw MartletError(.internal, "firecracker: guest port \(port): its answer is no 'OK'")
        }
    }
}
