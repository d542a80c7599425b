import MartletAPI
import MartletClient
import SandboxModel

/// How long a running sandbox stands still to be forked, and how soon its children run.
package struct ForkBenchmark: Sendable {
    let context: BenchContext
    let children: [Int]

    /// - Parameter children: how many at a time; each is measured on its own. The context's runs are for one child;
    ///   the more children, the fewer.
    package init(context: BenchContext, children: [Int]) {
        self.context = context
        self.children = children
    }

    /// One fork and the first command in each of its children.
    struct Round: Sendable {
        var shells: Int
        var pause: Double
        var client: Double
        var made: [CreateReport]
        var execs: [Double]
        var failures: [String]
    }

    /// What children hold right after the fork, and after their first command.
    private struct Memory: Sendable {
        var forked: [Double]
        var used: [Double]
        var failures: [String]
    }

    static let pause = "fork, parent's pause"
    static let call = "fork, HTTP call until all run"
    static let firstExec = "fork to first exec, each child"
    static let memory = "private memory, each child just forked"

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report = try await context.withServer(.standard) { server in
            var report = try await context.report("fork", server)
            try await server.withParent { parent in
                var failures: [String] = []
                for count in children { failures += try await measure(count, parent.id, server, &report) }
                try await ExecBenchmark.run(ExecBenchmark.true, in: parent.id, server)
                report.checks.append(
                    .init(
                        "every child was made", passed: failures.isEmpty,
                        detail: failures.isEmpty ? "none failed" : "\(failures.count) failed: \(failures[0])"))
            }
            return report
        }
        if context.isolation == nil { promise(&report) }
        if context.measuresBaseline {
            try await MigrationBaseline(context: context).measure(&report)
            try await Baselines(context: context).addCheckpoints(to: &report)
        }
        report.notes.append(
            "at once: the children of one fork. HTTP call: from the request until every child has confirmed its thaw; "
                + "first exec: from the fork's request to the answer of /bin/true, all children at once; first fork: "
                + "before the daemon knew of forks like it. Memory is of a round of its own, in which nothing is timed: "
                + "what only that child's QEMU holds")
        report.compare()
        return report
    }

    private func promise(_ report: inout BenchReport) {
        report.promise("parent's pause, 1 child, p50", of: Self.pause, atMost: 25)
        report.promise("1 child running, p50", of: Self.call, atMost: 90)
        report.promise("16 children running, p50", of: Self.call, concurrency: 16, atMost: 900)
        report.promise("64 children, private memory of each, max", of: Self.memory, concurrency: 64, atMost: 30, \.max)
    }

    /// How often a fork into so many children is measured.
    static func rounds(_ runs: Int, children: Int) -> Int {
        max(min(runs, 3), Int(Double(runs) / Double(children).squareRoot()))
    }

    /// - Returns: why children were not made.
    private func measure(
        _ count: Int, _ parent: String, _ server: BenchServer, _ report: inout BenchReport
    ) async throws -> [String] {
        context.progress("fork, \(count) children: the first")
        let first = try await round(count, parent, try await server.waitForShells(1), server)
        let planned = Self.rounds(context.runs, children: count)
        var rounds: [Round] = []
        for index in 0..<planned {
            context.progress("fork, \(count) children: \(index) of \(planned)")
            rounds.append(try await round(count, parent, try await server.waitForShells(count), server))
        }
        context.progress("fork, \(count) children: their memory")
        let memory = try await memoryRound(count, parent, server)
        add([first], "first ", count, &report)
        add(rounds, "", count, &report)
        let baseline = count == 1 ? MigrationBaseline.memory : nil
        report.add(
            BenchRow(Self.memory, concurrency: count, unit: .mebibytes, memory.forked, baseline: baseline))
        report.add(
            BenchRow(
                "private memory, each child after its first exec", concurrency: count, unit: .mebibytes, memory.used,
                baseline: baseline))
        let shells = rounds.map { "\($0.shells)" }
        report.notes.append(
            "forks into \(count): shells ready before the first fork: \(first.shells); before the others: "
                + (Set(shells).count == 1 ? shells[0] : shells.joined(separator: ", ")))
        return (rounds + [first]).flatMap(\.failures) + memory.failures
    }

    private func add(_ rounds: [Round], _ prefix: String, _ count: Int, _ report: inout BenchReport) {
        // Alternatives make one machine; several at once would not be compared with the like.
        let compared = count == 1 && prefix.isEmpty
        let made = rounds.flatMap(\.made)
        report.add(
            BenchRow(
                prefix + Self.pause, concurrency: count, rounds.map(\.pause),
                baseline: compared ? MigrationBaseline.pause : nil))
        report.add(
            BenchRow(
                prefix + Self.call, concurrency: count, rounds.map(\.client),
                baseline: compared ? MigrationBaseline.whole : nil))
        report.add(
            BenchRow(
                prefix + "fork, server's time for each child", concurrency: count, made.map(\.totalMilliseconds),
                phases: made.map(\.phases)))
        report.add(
            BenchRow(
                prefix + Self.firstExec, concurrency: count, rounds.flatMap(\.execs),
                baseline: compared ? MigrationBaseline.wholeExec : nil))
        report.add(
            BenchRow(
                prefix + "fork to first exec, all children", concurrency: count, rounds.compactMap { $0.execs.max() }))
    }

    private func round(
        _ count: Int, _ parent: String, _ shells: Int, _ server: BenchServer
    ) async throws -> Round {
        let start = ContinuousClock.now
        let (result, client) = try await timed {
            try await server.client.forkSandbox(
                parent, ForkSandboxRequest(count: count, timeoutSeconds: BenchServer.leaseSeconds))
        }
        let children = result.forks.compactMap(\.sandbox)
        return try await removing(children, server) {
            let execs = await inParallel(children, atOnce: count) { try await server.firstExec($0.id, since: start) }
            return Round(
                shells: shells, pause: result.pauseMilliseconds, client: client,
                made: try children.map(BenchServer.report), execs: try execs.map { try $0.get() },
                failures: result.forks.compactMap(\.error?.message))
        }
    }

    private func memoryRound(_ count: Int, _ parent: String, _ server: BenchServer) async throws -> Memory {
        let result = try await server.client.forkSandbox(
            parent, ForkSandboxRequest(count: count, timeoutSeconds: BenchServer.leaseSeconds))
        let children = result.forks.compactMap(\.sandbox)
        return try await removing(children, server) {
            var memory = Memory(forked: [], used: [], failures: result.forks.compactMap(\.error?.message))
            for child in children { memory.forked.append(try await server.privateMiB(child.id)) }
            for child in children {
                try await ExecBenchmark.run(ExecBenchmark.true, in: child.id, server)
                memory.used.append(try await server.privateMiB(child.id))
            }
            return memory
        }
    }

    private func removing<Result: Sendable>(
        _ children: [SandboxResource], _ server: BenchServer, _ body: () async throws -> Result
    ) async throws -> Result {
        try await server.cleaningUp(body) { _ in try await server.delete(children.map(\.id)) }
    }
}
