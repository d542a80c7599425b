/// A signal of Linux, as callers name it: by name, short name or number.
package struct LinuxSignal: Sendable, Hashable {
    /// From 1 to 64.
    package let number: Int32

    /// The names from 1 on, as on x86-64 and arm64 (signal(7)).
    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ]

    /// The signal of a number; nil when there is none.
    package init?(number: Int32) {
        guard (1...64).contains(number) else { return nil }
        self.number = number
    }

    /// The signal that `SIGTERM`, `TERM`, `term` or `15` names; nil when that names none.
    package init?(_ text: String) {
        if let number = Int32(text) {
            self.init(number: number)
            return
        }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        guard let index = LinuxSignal.names.firstIndex(of: name) else { return nil }
        self.init(number: Int32(index + 1))
    }

    /// Such as `SIGTERM`; `SIG40` for those without a name of their own.
    package var name: String {
        LinuxSignal.names.indices.contains(Int(number) - 1)
            ? "SIG" + LinuxSignal.names[Int(number) - 1] : "SIG\(number)"
    }
}
