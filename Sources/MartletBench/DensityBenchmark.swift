import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// What many idle sandboxes cost at once.
package struct DensityBenchmark: Sendable {
    let context: BenchContext
    let count: Int

    /// - Parameter count: sandboxes at once.
    package init(context: BenchContext, count: Int) {
        self.context = context
        self.count = count
    }

    /// How many creates, or removals, are under way at once.
    private static let atOnce = 4
    private static let idleSeconds = 5.0
    /// Sandboxes handed out by a warm pool that are looked at too.
    private static let warmCount = 8

    private struct Usage: Sendable {
        var own: [Double] = []
        var share: [Double] = []
    }

    /// Runs it.
    package func run() async throws -> BenchReport {
        // Nothing kept ready: only what the sandboxes themselves hold is to be counted.
        var report = try await context.withServer(.none) { server in
            var report = try await context.report("density", server)
            try await measure(server, &report)
            return report
        }
        if case .ownDaemons = context.target {
            report = try await context.withServer(.warm(Self.warmCount)) { [report] server in
                var report = report
                try await measureWarm(server, &report)
                return report
            }
        }
        if context.measuresBaseline { try await Baselines(context: context).addBootMemory(to: &report) }
        report.notes.append(
            "private: memory only that sandbox's QEMU holds; proportional: that plus its share of what it maps together "
                + "with others, such as the template's memory image")
        report.compare()
        return report
    }

    private func measure(_ server: BenchServer, _ report: inout BenchReport) async throws {
        let before = try await Blocking.run { ProcessFacts.memoryAvailableMiB }
        let processesBefore = try await processes(server)
        let filesBefore = try await files(server)
        let (results, milliseconds) = await timed {
            await inParallel(Array(0..<count), atOnce: Self.atOnce) { index in
                context.progress("creating idle sandboxes: \(index) of \(count)")
                return try await server.create()
            }
        }
        let ids = results.compactMap { try? $0.get().id }
        do {
            _ = try results.map { try $0.get() }
            report.add(BenchRow("create \(count), \(Self.atOnce) at once", concurrency: count, [milliseconds]))
            try await measureIdle(server, &report)
            let after = try await Blocking.run { ProcessFacts.memoryAvailableMiB }
            report.add(
                BenchRow(
                    "host memory taken per sandbox", concurrency: count, unit: .mebibytes,
                    [(before - after) / Double(count)]))
            report.add(
                BenchRow("host memory taken by all", concurrency: count, unit: .mebibytes, [before - after]))
            try await add(try await usage(server, ids), "idle", count, &report)
        } catch {
            try? await server.delete(ids)
            throw error
        }
        context.progress("removing \(count) sandboxes")
        let (_, removal) = try await timed { try await server.delete(ids, atOnce: Self.atOnce) }
        report.add(BenchRow("remove \(count), \(Self.atOnce) at once", concurrency: count, [removal]))
        try await checkNothingIsLeft(processesBefore, filesBefore, server, &report)
    }

    /// Processor time of all the machines, and of the daemon, while nobody asks for anything.
    private func measureIdle(_ server: BenchServer, _ report: inout BenchReport) async throws {
        guard let daemon = server.daemon else { return }
        context.progress("\(count) sandboxes idle")
        // What creating them set off, such as write-back in the guests, has its time to end first.
        try await Task.sleep(for: .seconds(Self.idleSeconds))
        let machines = try await Blocking.run { daemon.facts.children.map(ProcessFacts.init) }
        let all = machines + [daemon.facts]
        let before = try await Blocking.run { all.map(\.processorMilliseconds) }
        let start = Clocks.monotonicNanoseconds
        try await Task.sleep(for: .seconds(Self.idleSeconds))
        let after = try await Blocking.run { all.map(\.processorMilliseconds) }
        let elapsed = Double(Clocks.monotonicNanoseconds - start) / 1e6
        let shares = zip(before, after).map { 100 * ($1 - $0) / elapsed }
        let each = Array(shares.prefix(machines.count))
        report.add(BenchRow("processor use, each idle sandbox", concurrency: count, unit: .percent, each))
        report.add(
            BenchRow("processor use, all idle sandboxes", concurrency: count, unit: .percent, [each.reduce(0, +)]))
        report.add(
            BenchRow(
                "processor use, daemon", concurrency: count, unit: .percent, Array(shares.suffix(1))))
    }

    /// Memory of each sandbox: from the kernel where the machines are the daemon's only children, else as the server
    /// tells it.
    private func usage(_ server: BenchServer, _ ids: [String]) async throws -> Usage {
        context.progress("reading the memory of \(ids.count) sandboxes")
        var usage = Usage()
        if let daemon = server.daemon, server.pool == BenchContext.Pool.none {
            let all = try await Blocking.run { try daemon.facts.children.map { try ProcessFacts(pid: $0).memoryMiB() } }
            usage.own = all.map(\.own)
            usage.share = all.map(\.share)
        } else {
            for id in ids {
                let metrics = try await server.client.metrics(id)
                usage.own.append(Double(metrics.hostPrivateBytes) / 1_048_576)
                usage.share.append(Double(metrics.hostProportionalBytes) / 1_048_576)
            }
        }
        return usage
    }

    private func add(_ usage: Usage, _ what: String, _ count: Int, _ report: inout BenchReport) async throws {
        report.add(
            BenchRow(
                "private memory, \(what)", concurrency: count, unit: .mebibytes, usage.own,
                baseline: Baselines.bootMemory))
        report.add(
            BenchRow("proportional memory, \(what)", concurrency: count, unit: .mebibytes, usage.share))
    }

    /// A warm guest has run a program already, which an emulator keeps translated: it holds more than one that came cold.
    private func measureWarm(_ server: BenchServer, _ report: inout BenchReport) async throws {
        try await server.waitUntilPoolIsFull()
        let results = await inParallel(Array(0..<Self.warmCount), atOnce: 1) { _ in try await server.create() }
        let ids = results.compactMap { try? $0.get().id }
        do {
            _ = try results.map { try $0.get() }
            try await add(
                try await usage(server, ids), "handed out warm, idle", Self.warmCount, &report)
        } catch {
            try? await server.delete(ids)
            throw error
        }
        try await server.delete(ids)
    }

    // MARK: What is left

    private func processes(_ server: BenchServer) async throws -> Int? {
        guard let daemon = server.daemon else { return nil }
        return try await Blocking.run { daemon.facts.children.count }
    }

    private func files(_ server: BenchServer) async throws -> Int? {
        guard let daemon = server.daemon else { return nil }
        return try await Blocking.run { ProcessFacts.files(below: daemon.directory).count }
    }

    private func checkNothingIsLeft(
        _ processesBefore: Int?, _ filesBefore: Int?, _ server: BenchServer, _ report: inout BenchReport
    ) async throws {
        guard let processesBefore, let filesBefore, let processesAfter = try await processes(server),
            let filesAfter = try await files(server)
        else {
            report.notes.append("processor use and what is left: not measured, the daemon is not ours to look into")
            return
        }
        report.changes += [
            .init(
                "daemon: child processes", unit: "", before: Double(processesBefore), after: Double(processesAfter)),
            .init("daemon: files in its directory", unit: "", before: Double(filesBefore), after: Double(filesAfter)),
        ]
        report.checks += [
            .init(
                "no process is left", passed: processesAfter <= processesBefore,
                detail: "\(processesAfter - processesBefore)"),
            .init("no file is left", passed: filesAfter <= filesBefore, detail: "\(filesAfter - filesBefore)"),
        ]
    }
}
