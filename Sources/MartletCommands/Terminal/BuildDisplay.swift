import LinuxSystem
import MartletAPI
import Synchronization

/// How a template build goes on: one line that is written over on a terminal, a line per step elsewhere.
final class BuildDisplay: Sendable {
    private let template: String
    private let isLive = Console.errorIsTerminal
    private let state = Mutex(State())

    private struct State {
        var last: TemplateBuild?
        var lastStage = 0
        var seenAt = Clocks.monotonicNanoseconds
        var lineShown = false
    }

    init(template: String) { self.template = template }

    /// Shows a step.
    func show(_ build: TemplateBuild) {
        state.withLock { state in
            let isNewStage = build.stageIndex != state.lastStage
            state.last = build
            state.seenAt = Clocks.monotonicNanoseconds
            state.lastStage = build.stageIndex
            if isLive {
                draw(&state)
            } else if isNewStage, build.state == "running", build.stageCount > 0 {
                Console.note(Self.line(template, build, elapsed: build.elapsedMilliseconds))
            }
        }
    }

    /// Keeps the clock of the line going until cancelled.
    func tick() async {
        guard isLive else { return }
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            if !Task.isCancelled { state.withLock { draw(&$0) } }
        }
    }

    /// Ends the line and says how it went.
    func finish(_ build: TemplateBuild) {
        state.withLock { state in
            if state.lineShown { Console.write("\r\u{1B}[K", to: 2) }
            state.lineShown = false
        }
        guard build.state == "succeeded" else { return }
        Console.note("template \(template) is ready (\(Format.clock(milliseconds: build.elapsedMilliseconds)))")
    }

    private func draw(_ state: inout State) {
        guard let build = state.last, build.state == "running" else { return }
        let since = Double(Clocks.monotonicNanoseconds - state.seenAt) / 1e6
        let line = Self.line(template, build, elapsed: build.elapsedMilliseconds + since)
        let columns = Int(TerminalMode.size(2)?.columns ?? 80)
        Console.write("\r" + String(line.prefix(max(20, columns - 1))) + "\u{1B}[K", to: 2)
        state.lineShown = true
    }

    static func line(_ template: String, _ build: TemplateBuild, elapsed: Double) -> String {
        let stage = build.stageCount > 0 ? "[\(build.stageIndex)/\(build.stageCount)] \(build.stage)" : build.stage
        let message = build.message.isEmpty ? "" : ": " + build.message
        return Printable.line("template \(template) \(Format.clock(milliseconds: elapsed)) \(stage)\(message)")
    }
}
