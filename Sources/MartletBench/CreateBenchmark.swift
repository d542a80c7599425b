import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// How long a sandbox takes to come about, by what was ready for it.
package struct CreateBenchmark: Sendable {
    let context: BenchContext
    let concurrency: [Int]
    let churn: Int

    /// - Parameters:
    ///   - concurrency: how many creates at once; each is measured on its own.
    ///   - churn: creates and kills in a row, to see what they leave behind; 0 leaves that out.
    package init(context: BenchContext, concurrency: [Int], churn: Int) {
        self.context = context
        self.concurrency = concurrency
        self.churn = churn
    }

    /// One create as both sides saw it.
    private struct Sample: Sendable {
        var id: String
        var report: CreateReport
        var clientMilliseconds: Double
    }

    private static let wholeRun = "create, run true, remove"

    /// Runs it.
    package func run() async throws -> BenchReport {
        var report: BenchReport?
        for (mode, level) in plan {
            report = try await context.withServer(pool(mode, level)) { [report] server in
                var report = try await initial(report, server)
                try await measure(mode, level, server, &report)
                if level == 1, mode == .warm || mode == nil { try await measureWholeRuns(server, &report) }
                return report
            }
        }
        if churn > 0 {
            report = try await context.withServer(.standard) { [report] server in
                var report = try await initial(report, server)
                try await Churn(context: context, count: churn).measure(server, &report)
                return report
            }
        }
        guard var report else { throw MartletError.invalid("concurrency", "there is nothing to measure") }
        if context.measuresBaseline {
            try await Baselines(context: context).addBoots(to: &report)
            try await Baselines(context: context).addContainerRuns(to: &report)
        }
        report.notes.append(
            "create: the server's own time until the guest has confirmed its thaw; HTTP call: the client's time for the "
                + "whole request, to our own daemons over a unix socket; raw QEMU boot: from qemu-img to the agent's first answer"
        )
        report.compare()
        return report
    }

    /// Which modes at which concurrency; a server that is not ours has the mode it has.
    private var plan: [(CreateReport.Mode?, Int)] {
        guard case .ownDaemons = context.target else { return concurrency.map { (nil, $0) } }
        let modes: [CreateReport.Mode] = [.warm, .shell, .cold]
        return modes.flatMap { mode in concurrency.map { (mode, $0) } }
    }

    private func pool(_ mode: CreateReport.Mode?, _ level: Int) -> BenchContext.Pool {
        switch mode {
        case .warm: .warm(level)
        case .shell: .shells(level)
        case .cold, .baked, .restored, .booted: .none
        case nil: .standard
        }
    }

    private func initial(_ report: BenchReport?, _ server: BenchServer) async throws -> BenchReport {
        if let report { return report }
        return try await context.report("create", server)
    }

    private func measure(
        _ mode: CreateReport.Mode?, _ level: Int, _ server: BenchServer, _ report: inout BenchReport
    ) async throws {
        var samples: [Sample] = []
        while samples.count < context.runs {
            context.progress("create \(mode?.rawValue ?? "") \(level) at once: \(samples.count) of \(context.runs)")
            try await server.waitUntilPoolIsFull()
            samples += try await burst(level, server)
        }
        for found in CreateReport.Mode.allCases {
            let group = samples.filter { $0.report.mode == found }
            let name = "create \(found.rawValue)"
            // The alternative is measured alone; several at once would not be compared with the like.
            let baseline = level == 1 ? Baselines.boot : nil
            report.add(
                BenchRow(
                    name, concurrency: level, group.map(\.report.totalMilliseconds), phases: group.map(\.report.phases),
                    baseline: baseline))
            report.add(
                BenchRow(
                    name + ", HTTP call", concurrency: level, group.map(\.clientMilliseconds), baseline: baseline))
            if let mode, mode != found, !group.isEmpty {
                report.notes.append(
                    "\(group.count) of \(samples.count) creates, \(level) at once, were to be \(mode.rawValue) and came "
                        + "\(found.rawValue): what was ready did not suffice")
            }
        }
    }

    private func burst(_ count: Int, _ server: BenchServer) async throws -> [Sample] {
        let results = await inParallel(Array(0..<count), atOnce: count) { _ in
            let (sandbox, milliseconds) = try await timed { try await server.create() }
            guard let create = sandbox.create else {
                try await server.client.deleteSandbox(sandbox.id)
                throw MartletError(.internal, "create: \(sandbox.id): the server does not say how it came about")
            }
            return Sample(id: sandbox.id, report: create, clientMilliseconds: milliseconds)
        }
        try await server.delete(results.compactMap { try? $0.get().id })
        return try results.map { try $0.get() }
    }

    /// What somebody who runs one program waits for, as `runsc run` does it.
    private func measureWholeRuns(_ server: BenchServer, _ report: inout BenchReport) async throws {
        var samples: [Double] = []
        for index in 0..<context.runs {
            context.progress("\(Self.wholeRun): \(index) of \(context.runs)")
            try await server.waitUntilPoolIsFull()
            samples.append(
                try await timed {
                    try await server.withSandbox { sandbox in
                        try await ExecBenchmark.run(ExecBenchmark.true, in: sandbox.id, server)
                    }
                }.milliseconds)
        }
        report.add(BenchRow(Self.wholeRun, samples, baseline: Baselines.containerRun))
    }
}
