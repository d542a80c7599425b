import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// What each wall costs: making a sandbox, running programs that compute and programs that call the kernel, and memory,
/// beside the same under bare `runsc`, bare `bwrap` and on the host itself.
package struct EnginesBenchmark: Sendable {
    let context: BenchContext

    package init(context: BenchContext) { self.context = context }

    /// What clients ask for, and the engine behind it.
    private static let walls = [
        ("microvm", "qemu"), ("firecracker", "firecracker"), ("gvisor", "gvisor"), ("process", "bubblewrap"),
    ]

    /// Computes, in one process, and hardly calls the kernel.
    static let computing = ["/usr/bin/python3", "-c", "x=0\nfor i in range(2000000): x+=i*i"]
    /// Calls the kernel 400,000 times, and does nothing else.
    static let calling = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=200000", "status=none"]
    static let works = [("computing", computing), ("calling the kernel", calling)]

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report = try await context.withServer(.none) { server in try await context.report("engines", server) }
        for (wall, engine) in Self.walls {
            try await Baselines(context: context).measuring(wall, &report) { report in
                try await measure(wall, engine, &report)
            }
        }
        if context.measuresBaseline { try await Baselines(context: context).addBare(to: &report) }
        judge(&report)
        report.compare()
        report.notes.append(
            "create: the HTTP call, with a sandbox ready, or with nothing ready; a whole run is create, one program and "
                + "delete with nothing ready, as the bare programs do it. Work: the program's own time in a sandbox that "
                + "has run it before. Memory: what the host counts for the sandbox, idle, after one command")
        return report
    }

    private func measure(_ wall: String, _ engine: String, _ report: inout BenchReport) async throws {
        let host = try await context.withServer(.none) { try await $0.client.host() }
        guard let found = host.engines.first(where: { $0.name == engine }), found.available else {
            let why = host.engines.first { $0.name == engine }?.reason ?? "this version does not have it"
            throw MartletError(.failedPrecondition, "engine \(engine): \(why)")
        }
        let bare = Baselines.bareRun(wall)
        let (ready, work, memory) = try await context.withServer(.warm(2), isolation: wall) { server in
            var creates: [Double] = []
            for index in 0..<context.runs {
                context.progress("create \(wall): \(index) of \(context.runs)")
                try await server.waitUntilPoolIsFull()
                let (sandbox, milliseconds) = try await timed { try await server.create() }
                creates.append(milliseconds)
                try await server.client.deleteSandbox(sandbox.id)
            }
            return try await server.withSandbox { sandbox in
                var work: [String: [Double]] = [:]
                for (name, program) in Self.works {
                    for index in 0...context.slowRuns {
                        context.progress("\(name), \(wall): \(index) of \(context.slowRuns)")
                        let result = try await ExecBenchmark.run(program, in: sandbox.id, server)
                        if index > 0 { work[name, default: []].append(result.guestMilliseconds) }
                    }
                }
                var commands: [Double] = []
                for _ in 0..<context.runs {
                    commands.append(
                        try await timed { try await ExecBenchmark.run(ExecBenchmark.true, in: sandbox.id, server) }
                            .milliseconds)
                }
                work["exec true, HTTP call"] = commands
                return (creates, work, try await idleMemory(server))
            }
        }
        report.add(BenchRow("create, \(wall)", ready, baseline: bare))
        let (cold, whole) = try await unprepared(wall)
        report.add(BenchRow("create with nothing ready, \(wall)", cold, baseline: bare))
        report.add(BenchRow("whole run of true, \(wall)", whole, baseline: bare))
        report.add(BenchRow("exec true, HTTP call, \(wall)", work["exec true, HTTP call"] ?? []))
        for (name, _) in Self.works {
            report.add(BenchRow("\(name), \(wall)", work[name] ?? [], baseline: Baselines.hostWork(name)))
        }
        report.add(BenchRow("idle memory, \(wall)", unit: .mebibytes, memory))
    }

    /// A sandbox that has run one command and does nothing since.
    private func idleMemory(_ server: BenchServer) async throws -> [Double] {
        var samples: [Double] = []
        for _ in 0..<context.slowRuns {
            samples.append(
                try await server.withSandbox { sandbox in
                    try await ExecBenchmark.run(ExecBenchmark.true, in: sandbox.id, server)
                    return try await Double(server.client.metrics(sandbox.id).hostPrivateBytes) / 1_048_576
                })
        }
        return samples
    }

    /// Creates and whole runs by a daemon that keeps nothing ready.
    private func unprepared(_ wall: String) async throws -> (creates: [Double], runs: [Double]) {
        try await context.withServer(.none, isolation: wall) { server in
            var (creates, runs): ([Double], [Double]) = ([], [])
            for index in 0..<min(context.runs, 20) {
                context.progress("create \(wall) with nothing ready: \(index)")
                let (created, whole) = try await timed {
                    let (sandbox, milliseconds) = try await timed { try await server.create() }
                    try await ExecBenchmark.run(ExecBenchmark.true, in: sandbox.id, server)
                    try await server.client.deleteSandbox(sandbox.id)
                    return milliseconds
                }
                creates.append(created)
                runs.append(whole)
            }
            return (creates, runs)
        }
    }

    /// Whether what is promised beside the bare programs is kept.
    private func judge(_ report: inout BenchReport) {
        for (wall, factor) in [("gvisor", 1.1), ("process", 2.0)] {
            guard let ours = report.rows.first(where: { $0.name == "create, \(wall)" }),
                let bare = report.rows.first(where: { $0.name == Baselines.bareRun(wall) })
            else { continue }
            let ratio = Statistics.rounded(ours.statistics.p50 / bare.statistics.p50)
            report.checks.append(
                .init(
                    "create, \(wall) <= \(factor) x \(bare.name)", passed: ratio <= factor, detail: "\(ratio) x",
                    isPromise: true))
        }
        report.promise("create, process", of: "create, process", atMost: 10)
    }
}
