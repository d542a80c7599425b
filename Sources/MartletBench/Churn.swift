import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// Creates and kills in a row, and what they leave behind in the daemon.
struct Churn: Sendable {
    let context: BenchContext
    let count: Int

    /// What a daemon holds at one moment.
    private struct Holdings: Sendable {
        var descriptors: Int
        var threads: UInt64
        var residentMiB: Double
        var privateMiB: Double
        var processes: Int
        var files: Int

        init(_ daemon: PrivateDaemon) throws {
            let facts = daemon.facts
            descriptors = facts.descriptors
            threads = facts.status("Threads")
            residentMiB = facts.residentMiB
            privateMiB = try facts.memoryMiB().own
            processes = facts.children.count
            files = ProcessFacts.files(below: daemon.directory).count
        }
    }

    /// Growth up to this much is noise: a connection more in the pool, a page more of the allocator's.
    private static let tolerance = (descriptors: 4, memoryMiB: 4.0)

    /// Adds the creates' times, the daemon's growth, and whether that is none.
    func measure(_ server: BenchServer, _ report: inout BenchReport) async throws {
        // The first ones grow caches that stay; those are not what is looked for.
        try await run(max(10, count / 10), server, "warming up")
        let before = try await holdings(server)
        let samples = try await run(count, server, "create and kill")
        let after = try await holdings(server)
        report.add(BenchRow("create and kill in a row, HTTP calls", samples))
        guard let before, let after else {
            report.notes.append("growth: not measured, the daemon is not ours to look into")
            return
        }
        add(before, after, &report)
    }

    @discardableResult
    private func run(_ count: Int, _ server: BenchServer, _ what: String) async throws -> [Double] {
        var samples: [Double] = []
        for index in 0..<count {
            context.progress("\(what): \(index) of \(count)")
            samples.append(try await timed { try await server.withSandbox { _ in } }.milliseconds)
        }
        return samples
    }

    private func holdings(_ server: BenchServer) async throws -> Holdings? {
        try await server.waitUntilPoolIsFull()
        guard let daemon = server.daemon else { return nil }
        return try await Blocking.run { try Holdings(daemon) }
    }

    private func add(_ before: Holdings, _ after: Holdings, _ report: inout BenchReport) {
        func change(_ name: String, _ unit: String, _ value: (Holdings) -> Double) -> Double {
            let change = BenchReport.Change(name, unit: unit, before: value(before), after: value(after))
            report.changes.append(change)
            return change.growth
        }
        let descriptors = change("daemon: descriptors", "") { Double($0.descriptors) }
        _ = change("daemon: threads", "") { Double($0.threads) }
        _ = change("daemon: resident memory", "MiB") { $0.residentMiB }
        let memory = change("daemon: private memory", "MiB") { $0.privateMiB }
        let processes = change("daemon: child processes", "") { Double($0.processes) }
        let files = change("daemon: files in its directory", "") { Double($0.files) }
        report.checks += [
            .init(
                "no growth of descriptors", passed: descriptors <= Double(Self.tolerance.descriptors),
                detail: "\(Int(descriptors)) after \(count) creates and kills, up to \(Self.tolerance.descriptors) "
                    + "allowed"),
            .init(
                "no growth of memory", passed: memory <= Self.tolerance.memoryMiB,
                detail: "\(memory) MiB, up to \(Self.tolerance.memoryMiB) allowed"),
            .init("no growth of processes", passed: processes <= 0, detail: "\(Int(processes))"),
            .init("no growth of files", passed: files <= 0, detail: "\(Int(files))"),
        ]
    }
}
