/// Owns work that outlives the call that began it: one task group, in which everything handed in runs.
///
/// The bridge between request-shaped calls and structured concurrency; ends when its `run` is cancelled.
final class TaskOwner: Sendable {
    private let jobs: AsyncStream<@Sendable () async -> Void>
    private let continuation: AsyncStream<@Sendable () async -> Void>.Continuation

    init() {
        (jobs, continuation) = AsyncStream.makeStream()
    }

    /// Runs `job` inside the group, at once if `run` is under way, else as soon as it is.
    func start(_ job: @escaping @Sendable () async -> Void) { continuation.yield(job) }

    /// Runs what is handed in until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await job in jobs { group.addTask(operation: job) }
            group.cancelAll()
        }
    }
}
