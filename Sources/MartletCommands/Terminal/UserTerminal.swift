import Glibc
import LinuxSystem
import Synchronization

/// Raw mode of the user's terminal, of which there is one: whatever way the program ends, it is undone.
enum UserTerminal {
    private static let mode = Mutex<TerminalMode?>(nil)

    /// Whether a program in a sandbox can have the user's terminal.
    static var isInteractive: Bool { isatty(0) == 1 && isatty(1) == 1 }

    /// Whether somebody may type.
    static var inputIsTerminal: Bool { isatty(0) == 1 }

    /// Switches raw mode on.
    static func makeRaw() throws(SystemError) {
        let raw = try TerminalMode.makeRaw(0)
        mode.withLock { if $0 == nil { $0 = raw } }
    }

    /// Switches raw mode off, if it is on.
    static func restore() {
        mode.withLock { current in
            current?.restore()
            current = nil
        }
    }

    /// The terminal's size.
    static var size: (rows: UInt16, columns: UInt16)? { TerminalMode.size(0) ?? TerminalMode.size(1) }
}
