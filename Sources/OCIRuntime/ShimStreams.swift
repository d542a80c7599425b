import CLinux
import Glibc
import LinuxSystem
import MartletAPI

/// What a container reads from and writes to on the host: three streams, or a terminal.
struct ShimStreams: Sendable {
    let input: Descriptor
    let output: Descriptor
    let errors: Descriptor
    private let isTerminal: Bool

    /// The streams the runtime was started with.
    static let standard = ShimStreams(
        input: Descriptor(owning: 0), output: Descriptor(owning: 1), errors: .standardError, isTerminal: false)

    /// A new terminal, ours from now on; its other end is sent through the socket.
    static func terminal(sendingTo socket: Descriptor) throws -> ShimStreams {
        var (main, replica): (Int32, Int32) = (-1, -1)
        try SystemError.check(clinux_open_terminal(&main, &replica, 24, 80), "openpty", "console")
        let (sent, kept) = (Descriptor(owning: main), Descriptor(owning: replica))
        // The terminal that has a discipline is the guest's; this one only carries bytes, and sizes by SIGWINCH.
        _ = try TerminalMode.makeRaw(kept.number)
        guard ioctl(kept.number, UInt(TIOCSCTTY), 0) == 0 else {
            throw SystemError("TIOCSCTTY", "console", errno: errno)
        }
        try SystemError.check(clinux_send_descriptor(socket.number, sent.number), "sendmsg", "console socket")
        return ShimStreams(input: kept, output: kept, errors: kept, isTerminal: true)
    }

    /// The terminal's size; nil without one.
    var size: TerminalSizeResource? {
        guard isTerminal else { return nil }
        guard let size = TerminalMode.size(input.number), size.rows > 0, size.columns > 0 else {
            return TerminalSizeResource(rows: 24, cols: 80)
        }
        return TerminalSizeResource(rows: size.rows, cols: size.columns)
    }
}
