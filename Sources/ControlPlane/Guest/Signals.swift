import SandboxModel

/// Linux's signals by name and number.
enum Signals {
    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ]

    /// The number of `SIGTERM`, `TERM` or `15`.
    ///
    /// - Throws: `invalid_argument`.
    static func number(_ text: String) throws(MartletError) -> Int32 {
        if let number = Int32(text), (1...64).contains(number) { return number }
        let upper = text.uppercased()
        let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        guard let index = names.firstIndex(of: name) else {
            throw .invalid("signal", "'\(text.printable)' is no signal: a name such as SIGTERM, or 1-64")
        }
        return Int32(index + 1)
    }

    /// The name of a signal, or nil for 0.
    static func name(_ number: Int32) -> String? {
        guard number > 0 else { return nil }
        return names.indices.contains(Int(number) - 1) ? "SIG" + names[Int(number) - 1] : "SIG\(number)"
    }
}
