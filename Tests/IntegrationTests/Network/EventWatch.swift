import Foundation
import MartletAPI
import MartletClient

/// Follows a sandbox's events, so that a test can wait for one.
actor EventWatch {
    private(set) var events: [SandboxEvent] = []
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private var follower: Task<Void, Never>?

    /// Follows a sandbox while `body` runs.
    static func with<Result>(
        _ client: MartletClient, _ id: String, _ body: (EventWatch) async throws -> Result
    ) async throws -> Result {
        let watch = EventWatch()
        let follower = Task {
            // A daemon that is started again goes on with the same history.
            while !Task.isCancelled {
                await watch.begin()
                do {
                    for try await event in client.events(id) { await watch.add(event) }
                } catch {
                    await watch.note("\(error)")
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
        }
        defer { follower.cancel() }
        return try await body(watch)
    }

    private var seenInThisStream = 0
    private(set) var problems: [String] = []

    private func begin() { seenInThisStream = 0 }

    private func note(_ problem: String) { problems.append(problem) }

    private func add(_ event: SandboxEvent) {
        seenInThisStream += 1
        guard seenInThisStream > events.count else { return }
        events.append(event)
        wake()
    }

    private func wake() {
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    var count: Int { events.count }

    /// The first event from an index on that fits; nil when none has come in this time.
    func first(
        from start: Int = 0, within limit: Duration = .seconds(60), where fits: @Sendable (SandboxEvent) -> Bool
    ) async -> SandboxEvent? {
        let deadline = ContinuousClock.now + limit
        let timer = Task {
            try? await Task.sleep(until: deadline)
            wake()
        }
        defer { timer.cancel() }
        while true {
            if let found = events.dropFirst(start).first(where: fits) { return found }
            if ContinuousClock.now >= deadline { return nil }
            await withCheckedContinuation { waiters.append($0) }
        }
    }

    /// What networks refused, from an index on, in short.
    func denials(from start: Int = 0) -> [String] {
        events.dropFirst(start).filter { $0.kind == "network_denied" }.map { event in
            event.details.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        }
    }
}

extension SandboxEvent {
    func isDenial(_ rule: String) -> Bool { kind == "network_denied" && details["rule"] == rule }
}
