import NIOCore

/// What one slot has under way on its event loop: asynchronous calls, and channels. Lives on that loop only.
///
/// The bridge from event handlers to asynchronous calls; whatever was begun through it can be ended, and waited for.
final class LoopJobs {
    private let loop: any EventLoop
    private var calls: [Int: Task<Void, Never>] = [:]
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var last = 0
    private(set) var isStopped = false

    init(loop: any EventLoop) { self.loop = loop }

    /// Runs an asynchronous call; cancelled by `stop`.
    func run<Value: Sendable>(
        _ call: @escaping @Sendable () async throws -> Value
    ) -> EventLoopFuture<Value> {
        guard !isStopped else { return loop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
        let promise = loop.makePromise(of: Value.self)
        last += 1
        let id = last
        calls[id] = Task {
            do {
                promise.succeed(try await call())
            } catch {
                promise.fail(error)
            }
        }
        promise.futureResult.assumeIsolated().whenComplete { _ in self.calls[id] = nil }
        return promise.futureResult
    }

    /// Sees that a channel is closed by `stop`.
    func own(_ channel: any Channel) {
        let token = ObjectIdentifier(channel)
        channels[token] = channel
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.channels[token] = nil }
        if isStopped { channel.close(promise: nil) }
    }

    /// Ends everything.
    ///
    /// - Returns: what is done when nothing is left.
    func stop() -> EventLoopFuture<Void> {
        isStopped = true
        guard !calls.isEmpty || !channels.isEmpty else { return loop.makeSucceededVoidFuture() }
        let left = Left(calls: Array(calls.values), channels: Array(channels.values))
        for call in left.calls { call.cancel() }
        for channel in left.channels { channel.close(promise: nil) }
        // A call that ended as it was cancelled may have left a channel.
        return loop.makeFutureWithTask { await left.wait() }.assumeIsolated().flatMap { self.stop() }.nonisolated()
    }

    private struct Left: Sendable {
        var calls: [Task<Void, Never>]
        var channels: [any Channel]

        func wait() async {
            for call in calls { await call.value }
            for channel in channels { _ = try? await channel.closeFuture.get() }
        }
    }
}
