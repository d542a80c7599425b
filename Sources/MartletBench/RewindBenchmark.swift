import MartletAPI
import MartletClient
import SandboxModel

/// What it costs to keep a checkpoint after every command, and to go back to one.
package struct RewindBenchmark: Sendable {
    let context: BenchContext

    /// - Parameter context: its runs are commands, and then rewinds, of one sandbox.
    package init(context: BenchContext) { self.context = context }

    static let checkpoint = "checkpoint, in the exec's answer"
    static let rewind = "rewind, HTTP call until it runs"

    /// The same command in a sandbox that records and in one that does not.
    private struct Pair: Sendable {
        var plain: Double
        var recorded: Double
        /// What the server says the checkpoint took; nil when none was taken.
        var checkpoint: Double?
    }

    private struct Rewind: Sendable {
        var client: Double
        var made: CreateReport
        var firstExec: Double
    }

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report = try await context.withServer(.standard) { server in
            var report = try await context.report("rewind", server)
            try await server.withParent { plain in
                try await server.withParent(recorded: true) { recorded in
                    try await measureCommands(plain.id, recorded.id, server, &report)
                    try await measureRewinds(recorded.id, server, &report)
                }
            }
            return report
        }
        report.promise("checkpoint for an exec, p50", of: Self.checkpoint, atMost: 25)
        if context.measuresBaseline {
            try await MigrationBaseline(context: context).measure(&report)
            try await Baselines(context: context).addCheckpoints(to: &report)
        }
        report.notes.append(
            "exec of /bin/true in two sandboxes that have run Python, one that records and one that does not, by turns; "
                + "record's cost is the difference of each pair. A checkpoint is stored as what was written since the "
                + "template's capture; first exec: from the rewind's request to the answer of /bin/true, its "
                + "checkpoint included")
        report.compare()
        return report
    }

    private func measureCommands(
        _ plain: String, _ recorded: String, _ server: BenchServer, _ report: inout BenchReport
    ) async throws {
        var pairs: [Pair] = []
        for index in 0..<context.runs {
            context.progress("exec with and without record: \(index) of \(context.runs)")
            let (_, without) = try await timed { try await ExecBenchmark.run(ExecBenchmark.true, in: plain, server) }
            let (result, with) = try await timed {
                try await ExecBenchmark.run(ExecBenchmark.true, in: recorded, server)
            }
            pairs.append(Pair(plain: without, recorded: with, checkpoint: result.checkpointMilliseconds))
        }
        report.add(BenchRow("exec true, HTTP call", pairs.map(\.plain)))
        report.add(BenchRow("exec true with record, HTTP call", pairs.map(\.recorded)))
        report.add(BenchRow("record's cost per exec", pairs.map { $0.recorded - $0.plain }))
        let taken = pairs.compactMap(\.checkpoint)
        report.add(BenchRow(Self.checkpoint, taken, baseline: MigrationBaseline.pause))
        report.checks.append(
            .init(
                "every exec has its checkpoint", passed: taken.count == pairs.count,
                detail: "\(taken.count) of \(pairs.count)"))
        let kept = try await server.client.checkpoints(recorded)
        report.add(BenchRow("checkpoint, parent's pause", kept.map(\.pauseMilliseconds)))
        report.add(
            BenchRow(
                "stored for a checkpoint", unit: .mebibytes, kept.map(\.storedMiB), baseline: MigrationBaseline.file))
        report.notes.append(
            "checkpoints kept after \(pairs.count + 1) commands: \(kept.count), together "
                + "\(Statistics.rounded(kept.map(\.storedMiB).reduce(0, +))) MiB")
    }

    private func measureRewinds(_ id: String, _ server: BenchServer, _ report: inout BenchReport) async throws {
        var rewinds: [Rewind] = []
        for index in 0..<context.runs {
            context.progress("rewind: \(index) of \(context.runs)")
            try await server.waitUntilPoolIsFull()
            // The exec after each rewind adds one: the last but one is what the latest command undid.
            let numbers = try await server.client.checkpoints(id).compactMap(\.number)
            guard let number = numbers.dropLast().last else {
                throw MartletError(.internal, "rewind: \(id): it has \(numbers.count) checkpoints")
            }
            let start = ContinuousClock.now
            let (sandbox, client) = try await timed { try await server.client.rewindSandbox(id, to: number) }
            rewinds.append(
                Rewind(
                    client: client, made: try BenchServer.report(of: sandbox),
                    firstExec: try await server.firstExec(id, since: start)))
        }
        report.add(BenchRow(Self.rewind, rewinds.map(\.client), baseline: MigrationBaseline.restore))
        report.add(
            BenchRow(
                "rewind, server's time", rewinds.map(\.made.totalMilliseconds), phases: rewinds.map(\.made.phases)))
        report.add(
            BenchRow("rewind to first exec", rewinds.map(\.firstExec), baseline: MigrationBaseline.restoreExec))
    }
}
