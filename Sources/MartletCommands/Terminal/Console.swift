import Glibc
import LinuxSystem
import SandboxModel

/// What the user sees: data on standard output, everything else on standard error.
enum Console {
    /// Whether standard output is a terminal.
    static let outputIsTerminal = isatty(1) == 1
    /// Whether standard error is a terminal.
    static let errorIsTerminal = isatty(2) == 1

    /// Writes a line of data.
    static func print(_ text: String) { write(text.hasSuffix("\n") ? text : text + "\n", to: 1) }

    /// Says something that is not data.
    static func note(_ text: String) { write("martlet: " + (text.hasSuffix("\n") ? text : text + "\n"), to: 2) }

    /// Tells an error and what can be done about it.
    static func complain(_ error: MartletError) {
        note(Printable.lines(error.message))
        if let hint = Hint.text(for: error) { write("hint: \(Printable.lines(hint))\n", to: 2) }
    }

    /// Writes as it is; a reader that has gone is no reason to fail.
    static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EAGAIN || errno == EINTR {
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
            } else if count < 0 {
                return
            } else {
                offset += count
            }
        }
    }
}
