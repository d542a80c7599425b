/// Names and numbers of signals in a sandbox, which runs Linux on the same processor as we do.
enum SignalName {
    private static let names: [Int32: String] = [
        1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
        9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
        16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU",
        23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO",
        30: "SIGPWR", 31: "SIGSYS",
    ]

    /// The number of `SIGTERM`, `TERM` or `15`.
    static func number(_ name: String) -> Int32? {
        if let number = Int32(name) { return (1...64).contains(number) ? number : nil }
        let full = name.hasPrefix("SIG") ? name : "SIG" + name
        return names.first { $0.value == full }?.key
    }

    /// The name of a number.
    static func name(_ number: Int32) -> String { names[number] ?? "\(number)" }
}
