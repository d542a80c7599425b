import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// The server under measurement.
struct BenchServer: Sendable {
    let client: MartletClient
    let template: String
    /// What isolates sandboxes; nil is what the server prefers.
    var isolation: String?
    /// Nil when it runs for others too: its insides are not ours to count.
    let daemon: PrivateDaemon?
    /// What it keeps ready; nil when that is not known.
    let pool: BenchContext.Pool?
    /// With which the command line reaches it.
    let environment: [String: String]

    /// Longest life of a sandbox that we failed to remove.
    static let leaseSeconds = 1800
    private static let poolPatience: Duration = .seconds(120)

    /// Makes a sandbox.
    func create() async throws -> SandboxResource {
        try await client.createSandbox(
            CreateSandboxRequest(template: template, timeoutSeconds: Self.leaseSeconds, isolation: isolation))
    }

    /// Makes one sandbox and removes it: the template is looked at, captured and in the page cache then.
    func prepare(_ progress: @Sendable (String) -> Void) async throws {
        progress("preparing template \(template)")
        try await client.deleteSandbox(try await create().id)
    }

    /// Hands a sandbox to `body` and removes it however `body` ends.
    func withSandbox<Result: Sendable>(_ body: (SandboxResource) async throws -> Result) async throws -> Result {
        let sandbox = try await create()
        let result: Result
        do {
            result = try await body(sandbox)
        } catch {
            try? await client.deleteSandbox(sandbox.id)
            throw error
        }
        try await client.deleteSandbox(sandbox.id)
        return result
    }

    /// Returns when everything the daemon keeps ready is ready. There is no event for it: it is asked now and then,
    /// outside of what is measured.
    ///
    /// - Throws: `timeout` when it does not come about.
    func waitUntilPoolIsFull() async throws {
        guard pool != BenchContext.Pool.none else { return }
        let start = ContinuousClock.now
        while ContinuousClock.now - start < Self.poolPatience {
            let pools = try await client.host().pools.filter { $0.template == template }
            let isFull = pools.allSatisfy { $0.warm >= $0.targetWarm && $0.shells >= $0.targetShells }
            // A server that is not ours may keep nothing ready at all.
            if isFull, !pools.isEmpty || pool == nil { return }
            try await Task.sleep(for: .milliseconds(25))
        }
        throw MartletError(
            .timeout, "wait for ready machines: template \(template): the pool is not full after \(Self.poolPatience)")
    }

    /// Removes sandboxes, a few at a time; all of them are tried before an error is thrown.
    func delete(_ ids: [String], atOnce: Int = 4) async throws {
        let failures = await inParallel(ids, atOnce: atOnce) { id in try await client.deleteSandbox(id) }
            .compactMap { result in if case .failure(let error) = result { error } else { nil } }
        if let first = failures.first { throw first }
    }
}

/// Works through a list, `atOnce` at a time, and returns every outcome in the order of the list.
func inParallel<Item: Sendable, Value: Sendable>(
    _ items: [Item], atOnce: Int, _ body: @escaping @Sendable (Item) async throws -> Value
) async -> [Result<Value, any Error>] {
    await withTaskGroup(of: (Int, Result<Value, any Error>).self) { group in
        var results: [Int: Result<Value, any Error>] = [:]
        var next = 0
        func start() {
            let (index, item) = (next, items[next])
            next += 1
            group.addTask {
                do {
                    return (index, .success(try await body(item)))
                } catch {
                    return (index, .failure(error))
                }
            }
        }
        while next < min(atOnce, items.count) { start() }
        while let (index, result) = await group.next() {
            results[index] = result
            if next < items.count { start() }
        }
        return items.indices.compactMap { results[$0] }
    }
}

/// Milliseconds that `body` takes, and what it returned.
func timed<Value>(_ body: () async throws -> Value) async rethrows -> (value: Value, milliseconds: Double) {
    let start = Clocks.monotonicNanoseconds
    let value = try await body()
    return (value, Double(Clocks.monotonicNanoseconds - start) / 1e6)
}
