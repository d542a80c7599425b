import Synchronization

/// Work that several may ask for at once and that is done once: who comes while it is under way gets its outcome.
final class SharedWork<Key: Hashable & Sendable>: Sendable {
    private final class Flight: Sendable {
        let isOver = Latch()
        let failure = Mutex<(any Error)?>(nil)
    }

    private let flights = Mutex<[Key: Flight]>([:])

    /// Returns when the work is done. It goes on when who asked first leaves.
    ///
    /// - Throws: what the work threw; `CancellationError`.
    func run(_ key: Key, _ work: @escaping @Sendable () async throws -> Void) async throws {
        let (flight, isFirst) = flights.withLock { flights in
            if let flight = flights[key] { return (flight, false) }
            let flight = Flight()
            flights[key] = flight
            return (flight, true)
        }
        guard isFirst else {
            try await flight.isOver.wait()
            if let failure = flight.failure.withLock({ $0 }) { throw failure }
            return
        }
        defer {
            flights.withLock { $0[key] = nil }
            flight.isOver.open()
        }
        do {
            try await shielded(work)
        } catch {
            flight.failure.withLock { $0 = error }
            throw error
        }
    }
}
