import MartletAPI
import MartletClient
import SandboxModel

/// How long it takes to name a state, and to make sandboxes that go on from it.
package struct RestoreBenchmark: Sendable {
    let context: BenchContext
    let concurrency: [Int]

    /// - Parameter concurrency: how many sandboxes at once; each is measured on its own.
    package init(context: BenchContext, concurrency: [Int]) {
        self.context = context
        self.concurrency = concurrency
    }

    private struct Sample: Sendable {
        var client: Double
        var made: CreateReport
        var firstExec: Double
    }

    static let snapshot = "snapshot, HTTP call until stored"
    static let create = "create from snapshot, HTTP call"
    static let disk = "resume from disk, HTTP call"

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report = try await context.withServer(.standard) { server in
            var report = try await context.report("restore", server)
            try await server.withParent { parent in
                try await measureSnapshots(parent.id, server, &report)
                try await withSnapshot(of: parent.id, server) { snapshot in
                    for level in concurrency { try await measure(snapshot, level, server, &report) }
                }
                try await measureDisk(parent.id, server, &report)
            }
            return report
        }
        if context.measuresBaseline {
            try await MigrationBaseline(context: context).measure(&report)
            try await Baselines(context: context).addBoots(to: &report)
            try await Baselines(context: context).addCheckpoints(to: &report)
        }
        report.notes.append(
            "create from snapshot: with what the daemon keeps ready by itself, which is told; first exec: from the "
                + "create's request to the answer of /bin/true. From disk: the machine is booted afresh")
        report.compare()
        return report
    }

    private func measureSnapshots(_ parent: String, _ server: BenchServer, _ report: inout BenchReport) async throws {
        var (calls, pauses, sizes): ([Double], [Double], [Double]) = ([], [], [])
        for index in 0..<context.runs {
            context.progress("snapshot: \(index) of \(context.runs)")
            try await withSnapshot(of: parent, server) { snapshot in
                calls.append(snapshot.call)
                pauses.append(snapshot.resource.pauseMilliseconds)
                sizes.append(snapshot.resource.storedMiB)
            }
        }
        report.add(BenchRow(Self.snapshot, calls, baseline: MigrationBaseline.pause))
        report.add(BenchRow("snapshot, parent's pause", pauses, baseline: MigrationBaseline.pause))
        report.add(
            BenchRow("stored for a snapshot", unit: .mebibytes, sizes, baseline: MigrationBaseline.file))
    }

    /// A snapshot and how long the call took that made it.
    private struct Named: Sendable {
        var resource: SnapshotResource
        var call: Double
    }

    private func withSnapshot<Result: Sendable>(
        of parent: String, _ server: BenchServer, _ body: (Named) async throws -> Result
    ) async throws -> Result {
        let (snapshot, call) = try await timed {
            try await server.client.createSnapshot(
                of: parent, CreateSnapshotRequest(name: "bench-\(UInt32.random(in: 0 ... .max))"))
        }
        return try await server.cleaningUp {
            try await body(Named(resource: snapshot, call: call))
        } with: {
            try await $0.deleteSnapshot(snapshot.id)
        }
    }

    private func measure(
        _ snapshot: Named, _ level: Int, _ server: BenchServer, _ report: inout BenchReport
    ) async throws {
        var samples: [Sample] = []
        var shells: Set<Int> = []
        while samples.count < context.runs {
            context.progress("create from snapshot, \(level) at once: \(samples.count) of \(context.runs)")
            shells.insert(try await server.waitForShells(1))
            samples += try await burst(snapshot.resource.id, level, server)
        }
        // The alternative is measured alone; several at once would not be compared with the like.
        let alone = level == 1
        report.add(
            BenchRow(
                Self.create, concurrency: level, samples.map(\.client),
                baseline: alone ? MigrationBaseline.restore : nil))
        report.add(
            BenchRow(
                "create from snapshot, server's time", concurrency: level, samples.map(\.made.totalMilliseconds),
                phases: samples.map(\.made.phases)))
        report.add(
            BenchRow(
                "create from snapshot to first exec", concurrency: level, samples.map(\.firstExec),
                baseline: alone ? MigrationBaseline.restoreExec : nil))
        let ready = shells.sorted().map(String.init).joined(separator: " or ")
        report.notes.append("create from snapshot, \(level) at once: shells ready before: \(ready)")
    }

    private func burst(_ snapshot: String, _ count: Int, _ server: BenchServer) async throws -> [Sample] {
        let results = await inParallel(Array(0..<count), atOnce: count) { _ in
            let start = ContinuousClock.now
            let (sandbox, client) = try await timed {
                try await server.client.createSandbox(
                    CreateSandboxRequest(timeoutSeconds: BenchServer.leaseSeconds, fromSnapshot: snapshot))
            }
            return try await server.cleaningUp {
                Sample(
                    client: client, made: try BenchServer.report(of: sandbox),
                    firstExec: try await server.firstExec(sandbox.id, since: start))
            } with: {
                try await $0.deleteSandbox(sandbox.id)
            }
        }
        return try results.map { try $0.get() }
    }

    /// The way out of a guest that does not answer any more: its disk, booted.
    private func measureDisk(_ id: String, _ server: BenchServer, _ report: inout BenchReport) async throws {
        var (calls, made): ([Double], [CreateReport]) = ([], [])
        for index in 0..<context.slowRuns {
            context.progress("resume from disk: \(index) of \(context.slowRuns)")
            try await server.client.pauseSandbox(id)
            let (sandbox, milliseconds) = try await timed {
                try await server.client.resumeSandbox(id, ResumeSandboxRequest(from: .disk))
            }
            calls.append(milliseconds)
            made.append(try BenchServer.report(of: sandbox))
        }
        report.add(BenchRow(Self.disk, calls, baseline: Baselines.boot))
        report.add(
            BenchRow(
                "resume from disk, server's time", made.map(\.totalMilliseconds), phases: made.map(\.phases)))
    }
}
