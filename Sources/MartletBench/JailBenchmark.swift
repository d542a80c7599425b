import MartletAPI
import MartletClient
import SandboxModel

/// What the jail around a microVM's process adds to a create: the same by two daemons, one of which jails nothing, turn by
/// turn, so that whatever else the machine does falls on both.
package struct JailBenchmark: Sendable {
    let context: BenchContext

    package init(context: BenchContext) { self.context = context }

    static let jailedStart = "start of the process, jailed"
    static let bareStart = "start of the process, not jailed"
    static let jailedCold = "create with nothing ready, jailed"
    static let bareCold = "create with nothing ready, not jailed"
    static let jailedReady = "create with one ready, jailed"
    static let bareReady = "create with one ready, not jailed"
    static let promise = "jail adds to the start of the process"
    /// The phase of a create in which the process is started and put into its jail.
    private static let phase = "spawn"
    private static let limitMilliseconds = 5.0

    private struct Sample: Sendable {
        var start: Double?
        var create: Double
    }

    /// Runs it.
    package func run() async throws -> BenchReport {
        guard case .ownDaemons = context.target else {
            throw MartletError.invalid("url", "the jail is measured on two daemons of its own, not on one that runs")
        }
        var report = try await context.withServer(.none) { server in try await context.report("jail", server) }
        let cold = try await inTurns(.none)
        report.add(
            BenchRow(Self.jailedStart, cold.jailed.compactMap(\.start), baseline: Self.bareStart))
        report.add(BenchRow(Self.bareStart, cold.bare.compactMap(\.start), isBaseline: true))
        report.add(BenchRow(Self.jailedCold, cold.jailed.map(\.create), baseline: Self.bareCold))
        report.add(BenchRow(Self.bareCold, cold.bare.map(\.create), isBaseline: true))
        let ready = try await inTurns(.warm(1))
        report.add(BenchRow(Self.jailedReady, ready.jailed.map(\.create), baseline: Self.bareReady))
        report.add(BenchRow(Self.bareReady, ready.bare.map(\.create), isBaseline: true))
        judge(&report)
        report.compare()
        report.notes.append(
            "both daemons make sandboxes without a network, in turns; the start of the process is the phase "
                + "`\(Self.phase)` of a create with nothing ready, until it answers; create: the HTTP call")
        return report
    }

    private func inTurns(_ pool: BenchContext.Pool) async throws -> (jailed: [Sample], bare: [Sample]) {
        let common = ["MARTLET_NO_NETWORK": "1"]
        return try await context.withServer(pool, settings: common, isolation: "microvm") { jailed in
            let open = common.merging(["MARTLET_INSECURE_NO_JAIL": "1"]) { $1 }
            return try await context.withServer(pool, settings: open, isolation: "microvm") { bare in
                var samples: ([Sample], [Sample]) = ([], [])
                for index in 0..<context.runs {
                    context.progress("create with and without a jail: \(index) of \(context.runs)")
                    // Who goes first has the colder caches.
                    if index.isMultiple(of: 2) {
                        samples.0.append(try await sample(jailed))
                        samples.1.append(try await sample(bare))
                    } else {
                        samples.1.append(try await sample(bare))
                        samples.0.append(try await sample(jailed))
                    }
                }
                return samples
            }
        }
    }

    private func sample(_ server: BenchServer) async throws -> Sample {
        try await server.waitUntilPoolIsFull()
        let (sandbox, milliseconds) = try await timed { try await server.create() }
        try await server.client.deleteSandbox(sandbox.id)
        return Sample(start: sandbox.create?.phases[Self.phase], create: milliseconds)
    }

    private func judge(_ report: inout BenchReport) {
        guard let jailed = report.rows.first(where: { $0.name == Self.jailedStart }),
            let bare = report.rows.first(where: { $0.name == Self.bareStart })
        else { return }
        let added = Statistics.rounded(jailed.statistics.p50 - bare.statistics.p50)
        report.checks.append(
            .init(
                "\(Self.promise) <= \(Int(Self.limitMilliseconds)) ms", passed: added <= Self.limitMilliseconds,
                detail: "\(added) ms", isPromise: true))
    }
}
