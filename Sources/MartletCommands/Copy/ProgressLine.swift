import LinuxSystem
import Synchronization

/// How far a copy is, on a terminal and only if it takes longer than a second.
final class ProgressLine: Sendable {
    private let isOn: Bool
    private let showsElapsed: Bool
    private let state = Mutex(State())

    private struct State {
        var name = ""
        var done: UInt64 = 0
        var total: UInt64?
        var start = Clocks.monotonicNanoseconds
        var lastDraw: Int64 = 0
        var isShown = false
    }

    /// - Parameter showsElapsed: whether the time it takes so far is shown too.
    init(isOn: Bool, showsElapsed: Bool = false) {
        self.isOn = isOn && Console.errorIsTerminal
        self.showsElapsed = showsElapsed
    }

    /// Begins a file.
    func begin(_ name: String, total: UInt64?) {
        state.withLock { state in
            state.name = name
            state.total = total
            state.done = 0
        }
    }

    /// Counts bytes of it.
    func add(_ bytes: Int) {
        guard isOn else { return }
        state.withLock { state in
            state.done += UInt64(bytes)
            let now = Clocks.monotonicNanoseconds
            guard now - state.start > 1_000_000_000, now - state.lastDraw > 100_000_000 else { return }
            state.lastDraw = now
            state.isShown = true
            let seconds = Double(now - state.start) / 1e9
            let elapsed = showsElapsed ? "\(Format.clock(milliseconds: seconds * 1000))  " : ""
            let line = elapsed + Self.line(name: state.name, done: state.done, total: state.total, seconds: seconds)
            let columns = Int(TerminalMode.size(2)?.columns ?? 80)
            Console.write("\r" + String(line.prefix(max(20, columns - 1))) + "\u{1B}[K", to: 2)
        }
    }

    /// Removes the line.
    func finish() {
        state.withLock { state in
            if state.isShown { Console.write("\r\u{1B}[K", to: 2) }
            state.isShown = false
        }
    }

    static func line(name: String, done: UInt64, total: UInt64?, seconds: Double) -> String {
        let rate = seconds > 0 ? Format.bytes(UInt64(Double(done) / seconds)) + "/s" : ""
        guard let total, total > 0 else { return "\(Printable.line(name))  \(Format.bytes(done))  \(rate)" }
        let part = min(1, Double(done) / Double(total))
        let filled = Int(part * 24)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 24 - filled)
        return "[\(bar)] \(Format.decimal(part * 100, 0))%  \(Format.bytes(done)) of \(Format.bytes(total))  \(rate)  "
            + Printable.line(name)
    }
}
