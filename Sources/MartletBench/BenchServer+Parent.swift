import MartletAPI
import MartletClient
import SandboxModel

extension BenchServer {
    /// What a parent has run: an interpreter that was started, read modules and worked leaves pages behind as real
    /// programs do.
    static let python = ["python3", "-c", "import json; print(sum(range(10**5)))"]

    /// How long a pool that does not grow any more is watched before it counts as full.
    private static let shellPatience: Duration = .seconds(3)

    /// Hands over a sandbox that has run Python, and removes it however `body` ends.
    func withParent<Result: Sendable>(
        recorded: Bool = false, _ body: (SandboxResource) async throws -> Result
    ) async throws -> Result {
        let parent = try await client.createSandbox(
            CreateSandboxRequest(
                template: template, timeoutSeconds: Self.leaseSeconds, isolation: isolation, record: recorded))
        return try await cleaningUp {
            try await ExecBenchmark.run(Self.python, in: parent.id, self)
            return try await body(parent)
        } with: { client in
            try await client.deleteSandbox(parent.id)
        }
    }

    /// Runs `cleanup` however `body` ends, also after an interruption: what is paused or stored has no deadline that
    /// would end it on a server that lives on.
    func cleaningUp<Result: Sendable>(
        _ body: () async throws -> Result, with cleanup: @escaping @Sendable (MartletClient) async throws -> Void
    ) async throws -> Result {
        let client = client
        let result: Result
        do {
            result = try await body()
        } catch {
            // A task of its own: the interrupted one sends nothing any more.
            try? await Task.detached { try await cleanup(client) }.value
            throw error
        }
        try await cleanup(client)
        return result
    }

    /// Runs `/bin/true` in a sandbox.
    ///
    /// - Returns: milliseconds from `start` to the answer.
    func firstExec(_ id: String, since start: ContinuousClock.Instant) async throws -> Double {
        try await ExecBenchmark.run(ExecBenchmark.true, in: id, self)
        return (ContinuousClock.now - start).milliseconds
    }

    /// What a sandbox takes on its host that nobody else holds, in MiB.
    func privateMiB(_ id: String) async throws -> Double {
        Double(try await client.metrics(id).hostPrivateBytes) / 1_048_576
    }

    /// Waits until as many shells are ready, or no more come: how many there may be is the daemon's own choice.
    ///
    /// - Returns: how many are ready.
    func waitForShells(_ wanted: Int) async throws -> Int {
        try await waitUntilPoolIsFull()
        var (best, since) = (-1, ContinuousClock.now)
        while true {
            let ready = try await client.host().pools.filter { $0.template == template }.reduce(0) { $0 + $1.shells }
            if ready >= wanted { return ready }
            if ready > best {
                (best, since) = (ready, ContinuousClock.now)
            } else if ContinuousClock.now - since > Self.shellPatience {
                return ready
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// The report of how a sandbox came about.
    static func report(of sandbox: SandboxResource) throws -> CreateReport {
        guard let report = sandbox.create else {
            throw MartletError(.internal, "create: \(sandbox.id): the server does not say how it came about")
        }
        return report
    }
}

extension Duration {
    var milliseconds: Double { self / .milliseconds(1) }
}

extension CaptureReport {
    /// What is stored, in MiB.
    var storedMiB: Double { Double(memoryBytes + diskBytes) / 1_048_576 }
}

extension SnapshotResource {
    /// What is stored, in MiB.
    var storedMiB: Double { Double(memoryBytes + diskBytes) / 1_048_576 }
}
