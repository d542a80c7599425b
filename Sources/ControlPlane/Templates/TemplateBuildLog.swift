import LinuxSystem
import MartletAPI
import Node
import SandboxModel
import Synchronization

/// One build and all it has told.
final class TemplateBuildLog: Sendable {
    /// Lines kept for who comes later; of more, only the last one is.
    private static let maxLines = 10_000

    let id: String
    let template: String
    let force: Bool
    /// nil: of the host's own template, which all may see; else of the key's, or, where that is nil, of the local user's.
    let owner: String??
    private let started = Clocks.monotonicNanoseconds
    private let live = Broadcast<TemplateBuild>()
    private let state: Mutex<State>

    private struct State {
        var lines: [TemplateBuild]
        var current: TemplateBuild
        var isOver = false
    }

    init(id: String = RandomID.make(prefix: "b"), template: String, force: Bool, owner: String?? = nil) {
        self.id = id
        self.template = template
        self.force = force
        self.owner = owner
        let first = TemplateBuild(
            id: id, template: template, state: "running", stage: "queued", stageIndex: 0, stageCount: 0,
            message: "waits for its turn", elapsedMilliseconds: 0, startedAt: .now)
        state = Mutex(State(lines: [first], current: first))
    }

    var current: TemplateBuild { state.withLock { $0.current } }
    var isOver: Bool { state.withLock { $0.isOver } }

    func isVisible(to caller: Caller) -> Bool {
        guard let owner, !caller.isAdmin else { return true }
        return caller.keyID != nil && owner == caller.keyID
    }

    func progress(_ progress: TemplateProgress) {
        add { build in
            build.stage = progress.stage
            build.stageIndex = progress.index
            build.stageCount = progress.count
            build.message = progress.message
            build.elapsedMilliseconds = progress.elapsedMilliseconds
        }
    }

    /// Something told within the stage it is at.
    func line(_ text: String) { add { $0.message = text } }

    /// Ends the build: done, or failed with an error.
    func end(_ error: MartletError?) {
        add(isLast: true) { build in
            build.state = error == nil ? "succeeded" : "failed"
            build.message = error?.message ?? "done"
            build.error = error.map {
                ErrorBody.Detail(code: $0.code.rawValue, message: $0.message, details: $0.details, requestID: "")
            }
        }
        live.finish()
    }

    private func add(isLast: Bool = false, _ change: (inout TemplateBuild) -> Void) {
        state.withLock { state in
            guard !state.isOver else { return }
            state.current.elapsedMilliseconds = Double(Clocks.monotonicNanoseconds - started) / 1e6
            change(&state.current)
            if state.lines.count < TemplateBuildLog.maxLines || isLast { state.lines.append(state.current) }
            state.isOver = isLast
            // Inside the lock, so that a follower's lines and its live part meet without a gap or a repetition.
            live.publish(state.current)
        }
    }

    /// Lines from a place on, counted from the first.
    func lines(from offset: Int, limit: Int) -> [TemplateBuild] {
        state.withLock { Array($0.lines.dropFirst(max(0, offset)).prefix(max(0, limit))) }
    }

    /// Gives every line so far and then every one that comes.
    func follow(_ body: (TemplateBuild) async throws -> Void) async throws {
        let (lines, stream) = state.withLock { ($0.lines, live.subscribe()) }
        for line in lines { try await body(line) }
        for await line in stream { try await body(line) }
        try Task.checkCancellation()
    }
}

/// Lines of what a build has told, and how it stands.
package struct TemplateBuildLines: Sendable {
    package var now: TemplateBuild
    package var lines: [TemplateBuild]
}
