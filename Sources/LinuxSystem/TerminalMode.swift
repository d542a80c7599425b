import CLinux
import Glibc

/// The user's terminal: its size, and raw mode that can always be undone.
public struct TerminalMode: Sendable {
    private let number: Int32
    private let saved: [UInt8]

    /// Sets a terminal to raw mode, in which every key goes to the program.
    public static func makeRaw(_ number: Int32) throws(SystemError) -> TerminalMode {
        var saved = [UInt8](repeating: 0, count: clinux_termios_size())
        try SystemError.check(clinux_terminal_raw(number, &saved), "tcsetattr", "descriptor \(number)")
        return TerminalMode(number: number, saved: saved)
    }

    private init(number: Int32, saved: [UInt8]) {
        self.number = number
        self.saved = saved
    }

    /// Puts back what was before; may be called any number of times.
    public func restore() { _ = clinux_terminal_restore(number, saved) }

    /// Rows and columns; nil when it is no terminal.
    public static func size(_ number: Int32) -> (rows: UInt16, columns: UInt16)? {
        var (rows, columns): (UInt16, UInt16) = (0, 0)
        return clinux_terminal_size(number, &rows, &columns) < 0 ? nil : (rows, columns)
    }
}
