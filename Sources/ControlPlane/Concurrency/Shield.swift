/// Runs `work` to its end even when the calling task is cancelled: for undoing what was begun, which must not stop
/// half-way because a client left or the daemon ends.
func shielded<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) async throws -> T {
    // A task of its own is the one way not to inherit the cancellation; it is awaited at once.
    try await Task { try await work() }.value
}
