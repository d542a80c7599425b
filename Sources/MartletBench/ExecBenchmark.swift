import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// How long a command takes in a warmed sandbox, and how much of that is ours.
package struct ExecBenchmark: Sendable {
    let context: BenchContext
    let concurrency: [Int]

    /// - Parameter concurrency: how many commands at once in the one sandbox; each is measured on its own.
    package init(context: BenchContext, concurrency: [Int]) {
        self.context = context
        self.concurrency = concurrency
    }

    static let `true` = ["/bin/true"]
    static let python = ["python3", "-c", "pass"]
    /// Times a program is run before it is measured; an emulator translates it in the first ones.
    private static let warmups = 20

    private struct Sample: Sendable {
        var total: Double
        var guest: Double
        var client: Double
    }

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report = try await context.withServer(.standard) { server in
            var report = try await context.report("exec", server)
            try await server.withSandbox { sandbox in
                for (name, program) in [("true", Self.true), ("python3 -c pass", Self.python)] {
                    try await measure(name, program, sandbox.id, server, &report)
                }
            }
            try await measureCommandLine(server, &report)
            return report
        }
        if context.measuresBaseline { try await Baselines(context: context).addContainerCommands(to: &report) }
        report.notes.append(
            "overhead: the server's time for the request minus the program's own time from start to end as the guest "
                + "agent measured it: HTTP, daemon, protocol and the way in and out of the guest. All commands of a row "
                + "run in one sandbox, whose processors they share")
        report.compare()
        return report
    }

    private func measure(
        _ name: String, _ program: [String], _ sandbox: String, _ server: BenchServer, _ report: inout BenchReport
    ) async throws {
        for index in 0..<Self.warmups {
            context.progress("exec \(name): warming up, \(index) of \(Self.warmups)")
            try await Self.run(program, in: sandbox, server)
        }
        let container = program == Self.true ? Baselines.containerExec : Baselines.containerPython
        for level in concurrency {
            context.progress("exec \(name), \(level) at once: \(context.runs) runs")
            let results = await inParallel(Array(0..<context.runs), atOnce: level) { _ in
                let (result, client) = try await timed { try await Self.run(program, in: sandbox, server) }
                return Sample(total: result.durationMilliseconds, guest: result.guestMilliseconds, client: client)
            }
            let samples = try results.map { try $0.get() }
            report.add(
                BenchRow(
                    "exec \(name), overhead", concurrency: level, samples.map { $0.total - $0.guest }))
            report.add(BenchRow("exec \(name), guest's own time", concurrency: level, samples.map(\.guest)))
            report.add(BenchRow("exec \(name), server's time", concurrency: level, samples.map(\.total)))
            report.add(
                BenchRow(
                    "exec \(name), HTTP call", concurrency: level, samples.map(\.client),
                    baseline: level == 1 ? container : nil))
        }
    }

    /// Runs a command that must succeed.
    @discardableResult
    static func run(_ program: [String], in sandbox: String, _ server: BenchServer) async throws -> ExecResult {
        let result = try await server.client.exec(sandbox, ExecRequest(cmd: .arguments(program)))
        guard result.exitCode == 0 else {
            throw MartletError(
                .failedPrecondition,
                "exec: \(program.joined(separator: " ")): it ended with \(result.exitCode): \(result.stderr ?? "")")
        }
        return result
    }

    /// The whole program `martlet run -- true`, from its start to its end.
    private func measureCommandLine(_ server: BenchServer, _ report: inout BenchReport) async throws {
        let environment = server.environment.map { "\($0.key)=\($0.value)" }
        let samples = try await ScratchDirectory.with { scratch in
            var samples: [Double] = []
            for index in 0..<context.runs {
                context.progress("martlet run -- true: \(index) of \(context.runs)")
                try await server.waitUntilPoolIsFull()
                samples.append(
                    try await ProgramRun.milliseconds(
                        context.program, ["run", "-T", context.template, "--", "true"], environment: environment,
                        log: scratch.path + "/log"))
            }
            return samples
        }
        report.add(BenchRow("martlet run -- true, whole process", samples, baseline: Baselines.containerRun))
    }
}
