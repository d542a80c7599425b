import Glibc
import LinuxSystem

/// The port hosts connect to by AF_VSOCK (vsock(7)), in machines that have no virtio port: the host names it on the kernel's
/// command line.
struct VsockPort: Equatable {
    let number: UInt32

    private static let word = "martlet.vsock="
    // linux/vm_sockets.h, which Glibc has no part of.
    private static let family: Int32 = 40
    private static let anyAddress: UInt32 = .max
    private static let hostAddress: UInt32 = 2
    /// Bytes of a `sockaddr_vm`: family, zeros, port, address, and zeros to the size of a `sockaddr`.
    private static let addressSize = 16

    /// What the kernel's command line says; nil where it says nothing, or nothing that makes sense.
    init?(commandLine: some StringProtocol) {
        let words = commandLine.split(whereSeparator: \.isWhitespace)
        guard let word = words.last(where: { $0.hasPrefix(VsockPort.word) }),
            let number = UInt32(word.dropFirst(VsockPort.word.count)), number > 0, number < .max
        else { return nil }
        self.number = number
    }

    /// A socket that listens at the port.
    func listen() throws(SystemError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = socket(VsockPort.family, type, 0)
        guard number >= 0 else { throw SystemError("socket", "vsock port \(self.number)", errno: errno) }
        let descriptor = Descriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: VsockPort.addressSize)
        bytes.withUnsafeMutableBytes { buffer in
            buffer.storeBytes(of: UInt16(VsockPort.family), toByteOffset: 0, as: UInt16.self)
            buffer.storeBytes(of: self.number, toByteOffset: 4, as: UInt32.self)
            buffer.storeBytes(of: VsockPort.anyAddress, toByteOffset: 8, as: UInt32.self)
        }
        let failure = bytes.withUnsafeBytes { buffer -> Int32 in
            // SAFETY: the kernel reads as many bytes as it is told, which are there.
            let address = buffer.baseAddress!.assumingMemoryBound(to: sockaddr.self)
            return bind(number, address, socklen_t(VsockPort.addressSize)) == 0 && Glibc.listen(number, 4) == 0
                ? 0 : errno
        }
        guard failure == 0 else { throw SystemError("listen", "vsock port \(self.number)", errno: failure) }
        return descriptor.release()
    }

    /// Whether the host is at the other end of a connection. Programs in the machine could connect, too, where its kernel
    /// has a loopback for such sockets; none of them is to be served as the host.
    static func isFromHost(_ connection: Int32) -> Bool {
        var bytes = [UInt8](repeating: 0, count: addressSize)
        var size = socklen_t(addressSize)
        let result = bytes.withUnsafeMutableBytes { buffer in
            // SAFETY: the kernel writes no more bytes than it is told there are.
            getpeername(connection, buffer.baseAddress!.assumingMemoryBound(to: sockaddr.self), &size)
        }
        guard result == 0, size == addressSize else { return false }
        return isHost(bytes)
    }

    /// Whether a `sockaddr_vm` is the host's.
    static func isHost(_ address: [UInt8]) -> Bool {
        address.withUnsafeBytes { buffer in
            buffer.count == addressSize && buffer.loadUnaligned(as: UInt16.self) == UInt16(family)
                && buffer.loadUnaligned(fromByteOffset: 8, as: UInt32.self) == hostAddress
        }
    }
}
