/// Lets one caller at a time do the work for a key; the others wait and get its result.
actor SingleFlight<Key: Hashable & Sendable, Value: Sendable> {
    private var waiting: [Key: [CheckedContinuation<Value?, Never>]] = [:]

    /// The result of `work` for `key`, which runs in the first caller's task. When that one fails or is cancelled, the
    /// next waiting caller tries for itself.
    func value(for key: Key, _ work: @Sendable () async throws -> Value) async throws -> Value {
        while waiting[key] != nil {
            let shared = await withCheckedContinuation { waiting[key]?.append($0) }
            if let shared { return shared }
            try Task.checkCancellation()
        }
        waiting[key] = []
        do {
            let value = try await work()
            finish(key, value)
            return value
        } catch {
            finish(key, nil)
            throw error
        }
    }

    private func finish(_ key: Key, _ value: Value?) {
        for continuation in waiting.removeValue(forKey: key) ?? [] { continuation.resume(returning: value) }
    }
}
