import Glibc
import GuestClient
import GuestProtocol
import LinuxSystem
import QEMUEngine
import SandboxModel

/// The same guest stored and brought back by QEMU's own means: its whole memory migrated to a file, and a second QEMU
/// that reads it.
struct MigrationBaseline: Sendable {
    let context: BenchContext

    static let pause = "QEMU migrate to a file, guest's pause"
    static let live = "QEMU live migrate to a file, guest's pause"
    static let restore = "QEMU restore, agent answers"
    static let restoreExec = "QEMU restore to first exec"
    static let whole = "QEMU migrate and restore, agent answers"
    static let wholeExec = "QEMU migrate and restore to first exec"
    static let file = "QEMU migration file"
    static let memory = "QEMU restored guest, private memory"

    /// One store and one restore, in milliseconds and MiB.
    private struct Sample: Sendable {
        var live: Double
        /// `stop`, `disk`, `migrate`, `continue`.
        var pause: [String: Double]
        /// `disk`, `start`, `load`, `answer`.
        var restore: [String: Double]
        var firstExec: Double
        var file: Double
        var memory: Double

        var pauseTotal: Double { pause.values.reduce(0, +) }
        var restoreTotal: Double { restore.values.reduce(0, +) }
        /// The source need not have gone on for the restore to begin.
        var whole: Double { pauseTotal - (pause["continue"] ?? 0) + restoreTotal }
    }

    /// Adds the rows, or a note that says why there are none.
    func measure(_ report: inout BenchReport) async throws {
        let baselines = Baselines(context: context)
        try await baselines.measuring(Self.whole, &report) { report in
            let samples = try await baselines.withRecipe(report) { recipe, directory in
                context.progress("booting a QEMU for the baseline")
                return try await RawMachine.with(recipe, in: directory) { try await self.samples($0, recipe) }
            }
            add(samples, &report)
        }
    }

    private func add(_ samples: [Sample], _ report: inout BenchReport) {
        report.add(BenchRow(Self.live, samples.map(\.live), isBaseline: true))
        report.add(BenchRow(Self.pause, samples.map(\.pauseTotal), phases: samples.map(\.pause), isBaseline: true))
        report.add(
            BenchRow(Self.restore, samples.map(\.restoreTotal), phases: samples.map(\.restore), isBaseline: true))
        report.add(BenchRow(Self.restoreExec, samples.map { $0.restoreTotal + $0.firstExec }, isBaseline: true))
        report.add(BenchRow(Self.whole, samples.map(\.whole), isBaseline: true))
        report.add(BenchRow(Self.wholeExec, samples.map { $0.whole + $0.firstExec }, isBaseline: true))
        report.add(BenchRow(Self.file, unit: .mebibytes, samples.map(\.file), isBaseline: true))
        report.add(BenchRow(Self.memory, unit: .mebibytes, samples.map(\.memory), isBaseline: true))
        report.notes.append(
            "QEMU: a guest of the same template that has run the same Python, without a daemon; stop, a layer on its "
                + "disk, migrate to a file without a limit of bandwidth, continue; then a second QEMU with -incoming "
                + "from there. Live: the guest runs while its memory is written, and its disk is left aside")
    }

    private func samples(_ machine: RawMachine, _ recipe: RawMachine.Recipe) async throws -> [Sample] {
        let directory = machine.directory
        for name in ["state", "restored"] {
            guard mkdir("\(directory)/\(name)", 0o700) == 0 else { throw SystemError("mkdir", name, errno: errno) }
        }
        try await run(["/usr/bin/python3"] + BenchServer.python.dropFirst(), machine.guest)
        let monitor = try await machine.monitor()
        defer { monitor.close() }
        try await monitor.execute("migrate-set-parameters", "{\"max-bandwidth\":\(Int64(1) << 40)}")
        var samples: [Sample] = []
        var layers = ["\(directory)/disk.qcow2"]
        for index in 0..<context.slowRuns {
            context.progress("\(Self.whole): \(index) of \(context.slowRuns)")
            samples.append(try await sample(monitor, recipe, &layers, directory))
        }
        return samples
    }

    private func sample(
        _ monitor: QMPConnection, _ recipe: RawMachine.Recipe, _ layers: inout [String], _ directory: String
    ) async throws -> Sample {
        let state = "\(directory)/state/memory"
        let live = try await migrate(to: state, monitor)
        let (_, again) = try await timed { try await monitor.execute("cont") }
        var watch = Stopwatch()
        try await monitor.execute("stop")
        watch.lap("stop")
        let layer = "\(directory)/layer-\(layers.count).qcow2"
        let active = layers.count == 1 ? "root" : "layer-\(layers.count - 1)"
        try await monitor.execute(
            "blockdev-snapshot-sync",
            "{\"node-name\":\"\(active)\",\"snapshot-node-name\":\"layer-\(layers.count)\",\"format\":\"qcow2\","
                + "\"snapshot-file\":\(jsonString(layer))}")
        watch.lap("disk")
        _ = try await migrate(to: state, monitor)
        watch.lap("migrate")
        try await monitor.execute("cont")
        watch.lap("continue")
        let file = try await Blocking.run { ProcessFacts.files(below: "\(directory)/state").bytes }
        let frozen = layers
        layers.append(layer)
        let pause = watch.phases
        return try await RawMachine.restored(recipe, from: state, layers: frozen, in: "\(directory)/restored") {
            child in
            let (_, firstExec) = try await timed { try await run(ExecBenchmark.true, child.guest) }
            let memory = try await Blocking.run { try ProcessFacts(pid: child.process.pid).memoryMiB().own }
            return Sample(
                live: live + again, pause: pause, restore: child.phases, firstExec: firstExec,
                file: Double(file) / 1_048_576, memory: memory)
        }
    }

    /// Migrates to a file.
    ///
    /// - Returns: for how many milliseconds the guest stood still for it, as QEMU counts.
    private func migrate(to file: String, _ monitor: QMPConnection) async throws -> Double {
        try await monitor.execute("migrate", "{\"uri\":\(jsonString("file:" + file))}")
        return try await Migration.waitUntilDone(monitor)
    }

    private func run(_ program: [String], _ guest: GuestConnection) async throws {
        let outcome = try await guest.exec(StartProcess(arguments: program), outputLimit: 4096)
        guard outcome.exit.code == 0 else {
            throw MartletError(
                .failedPrecondition,
                "\(program[0]) in the guest: it ended with \(outcome.exit.code): "
                    + String(decoding: outcome.standardError, as: UTF8.self))
        }
    }
}
