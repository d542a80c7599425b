import LinuxSystem
import MartletAPI
import Node
import SandboxModel
import Synchronization

/// One build and all it has told.
final class TemplateBuildLog: Sendable {
    /// Lines kept for who comes later; the first ones go.
    private static let maxLines = 2000

    let id = RandomID.make(prefix: "b")
    let template: String
    let force: Bool
    private let started = Clocks.monotonicNanoseconds
    private let live = Broadcast<TemplateBuild>()
    private let state: Mutex<State>

    private struct State {
        var lines: [TemplateBuild]
        var current: TemplateBuild
        var isOver = false
    }

    init(template: String, force: Bool) {
        self.template = template
        self.force = force
        let first = TemplateBuild(
            id: id, template: template, state: "running", stage: "queued", stageIndex: 0, stageCount: 0,
            message: "waits for its turn", elapsedMilliseconds: 0, startedAt: .now)
        state = Mutex(State(lines: [first], current: first))
    }

    var current: TemplateBuild { state.withLock { $0.current } }
    var isOver: Bool { state.withLock { $0.isOver } }

    func progress(_ progress: TemplateProgress) {
        add { build in
            build.stage = progress.stage
            build.stageIndex = progress.index
            build.stageCount = progress.count
            build.message = progress.message
            build.elapsedMilliseconds = progress.elapsedMilliseconds
        }
    }

    /// Ends the build: done, or failed with an error.
    func end(_ error: MartletError?) {
        let elapsed = Double(Clocks.monotonicNanoseconds - started) / 1e6
        add(isLast: true) { build in
            build.state = error == nil ? "succeeded" : "failed"
            build.message = error?.message ?? "done"
            build.elapsedMilliseconds = elapsed
            build.error = error.map {
                ErrorBody.Detail(code: $0.code.rawValue, message: $0.message, details: $0.details, requestID: "")
            }
        }
        live.finish()
    }

    private func add(isLast: Bool = false, _ change: (inout TemplateBuild) -> Void) {
        state.withLock { state in
            guard !state.isOver else { return }
            change(&state.current)
            state.lines.append(state.current)
            if state.lines.count > TemplateBuildLog.maxLines { state.lines.removeFirst() }
            state.isOver = isLast
            // Inside the lock, so that a follower's lines and its live part meet without a gap or a repetition.
            live.publish(state.current)
        }
    }

    /// Gives every line so far and then every one that comes.
    func follow(_ body: (TemplateBuild) async throws -> Void) async throws {
        let (lines, stream) = state.withLock { ($0.lines, live.subscribe()) }
        for line in lines { try await body(line) }
        for await line in stream { try await body(line) }
        try Task.checkCancellation()
    }
}
