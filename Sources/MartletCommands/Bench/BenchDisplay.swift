import LinuxSystem
import Synchronization

/// What a benchmark is doing, on one line of a terminal; nothing elsewhere.
final class BenchDisplay: Sendable {
    private let start = Clocks.monotonicNanoseconds
    private let state = Mutex((lastDraw: Int64(0), isShown: false))
    /// Drawing takes time from what is measured.
    private static let drawInterval: Int64 = 200_000_000

    /// Says what is being done now.
    func show(_ text: String) {
        guard Console.errorIsTerminal else { return }
        state.withLock { state in
            let now = Clocks.monotonicNanoseconds
            guard now - state.lastDraw > Self.drawInterval else { return }
            state.lastDraw = now
            state.isShown = true
            let columns = Int(TerminalMode.size(2)?.columns ?? 80)
            let line = Format.clock(milliseconds: Double(now - start) / 1e6) + "  " + Printable.line(text)
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
}
