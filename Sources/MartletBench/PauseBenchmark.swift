import MartletAPI
import MartletClient
import SandboxModel

/// How long a sandbox takes to be put away with its memory, and to come back.
package struct PauseBenchmark: Sendable {
    let context: BenchContext

    /// - Parameter context: its runs are cycles of one sandbox.
    package init(context: BenchContext) { self.context = context }

    private struct Cycle: Sendable {
        var pauseCall: Double
        var capture: CaptureReport
        var resumeCall: Double
        var resumed: CreateReport
        var firstExec: Double
    }

    static let pause = "pause, HTTP call until stored"
    static let resume = "resume, HTTP call until it runs"
    static let stored = "stored for a pause"

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report = try await context.withServer(.standard) { server in
            var report = try await context.report("pause", server)
            try await server.withParent { sandbox in
                var cycles: [Cycle] = []
                for index in 0..<context.runs {
                    context.progress("pause and resume: \(index) of \(context.runs)")
                    try await server.waitUntilPoolIsFull()
                    cycles.append(try await cycle(sandbox.id, server))
                }
                add(cycles, &report)
            }
            return report
        }
        if context.isolation == nil {
            report.promise("pause, p50", of: Self.pause, atMost: 60)
            report.promise("resume, p50", of: Self.resume, atMost: 70)
        }
        if context.measuresBaseline {
            try await MigrationBaseline(context: context).measure(&report)
            try await Baselines(context: context).addCheckpoints(to: &report)
        }
        report.notes.append(
            "pause: its last phase, seal, is everything brought to the storage and checksummed; what the alternatives "
                + "write is still on its way there when they are done. resume: with what the daemon keeps ready by "
                + "itself; first exec: from the resume's request to the answer of /bin/true")
        report.compare()
        return report
    }

    private func cycle(_ id: String, _ server: BenchServer) async throws -> Cycle {
        let (paused, pauseCall) = try await timed { try await server.client.pauseSandbox(id) }
        guard let capture = paused.capture else {
            throw MartletError(.internal, "pause: \(id): the server does not say how it went")
        }
        let start = ContinuousClock.now
        let (resumed, resumeCall) = try await timed { try await server.client.resumeSandbox(id) }
        return Cycle(
            pauseCall: pauseCall, capture: capture, resumeCall: resumeCall,
            resumed: try BenchServer.report(of: resumed),
            firstExec: try await server.firstExec(id, since: start))
    }

    private func add(_ cycles: [Cycle], _ report: inout BenchReport) {
        report.add(
            BenchRow(
                Self.pause, cycles.map(\.pauseCall), phases: cycles.map(\.capture.phases),
                baseline: MigrationBaseline.pause))
        report.add(BenchRow("pause, until captured", cycles.map(\.capture.pauseMilliseconds)))
        report.add(BenchRow(Self.resume, cycles.map(\.resumeCall), baseline: MigrationBaseline.restore))
        report.add(
            BenchRow(
                "resume, server's time", cycles.map(\.resumed.totalMilliseconds),
                phases: cycles.map(\.resumed.phases)))
        report.add(
            BenchRow("resume to first exec", cycles.map(\.firstExec), baseline: MigrationBaseline.restoreExec))
        report.add(
            BenchRow(
                Self.stored, unit: .mebibytes, cycles.map(\.capture.storedMiB), baseline: MigrationBaseline.file))
        if let first = cycles.first, let last = cycles.last {
            report.changes.append(
                .init(
                    "\(Self.stored), first and last", unit: "MiB", before: first.capture.storedMiB,
                    after: last.capture.storedMiB))
        }
    }
}
