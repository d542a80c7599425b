import Glibc
import GuestProtocol
import ImageStore
import LinuxSystem
import Logging
import QEMUEngine
import SandboxModel

/// What a user would have without us, measured in the same run. One that cannot be measured here is a note in the
/// report, not a failure.
struct Baselines: Sendable {
    let context: BenchContext

    static let boot = "raw QEMU boot"
    static let bootMemory = "raw QEMU boot, private memory"
    static let containerRun = "runsc run true"
    static let containerExec = "runsc exec true"
    static let containerPython = "runsc exec python3 -c pass"
    static let containerCheckpoint = "runsc checkpoint"
    static let containerRestore = "runsc restore"

    /// Cold boots of the same kernel, initramfs and root disk until the agent answers.
    func addBoots(to report: inout BenchReport) async throws {
        try await measuring(Self.boot, &report) { report in
            var samples: [[String: Double]] = []
            try await withRecipe(report) { recipe, directory in
                for index in 0..<context.slowRuns {
                    context.progress("\(Self.boot): \(index) of \(context.slowRuns)")
                    samples.append(try await RawMachine.with(recipe, in: directory) { $0.phases })
                }
            }
            report.add(
                BenchRow(Self.boot, samples.map { $0.values.reduce(0, +) }, phases: samples, isBaseline: true))
        }
    }

    /// The memory only one freshly booted QEMU holds.
    func addBootMemory(to report: inout BenchReport) async throws {
        try await measuring(Self.bootMemory, &report) { report in
            context.progress(Self.bootMemory)
            let memory = try await withRecipe(report) { recipe, directory in
                try await RawMachine.with(recipe, in: directory) { machine in
                    try await Blocking.run { try ProcessFacts(pid: machine.process.pid).memoryMiB().own }
                }
            }
            report.add(BenchRow(Self.bootMemory, unit: .mebibytes, [memory], isBaseline: true))
        }
    }

    /// One program in a container of its own.
    func addContainerRuns(to report: inout BenchReport) async throws {
        try await withContainer(Self.containerRun, &report) { container, report in
            try await addRuns(container, &report)
        }
    }

    /// Programs in a container that runs already, and in one of their own.
    func addContainerCommands(to report: inout BenchReport) async throws {
        try await withContainer(Self.containerExec, &report) { container, report in
            try await addRuns(container, &report)
            var samples: [String: [Double]] = [:]
            try await container.running { exec in
                for (name, program) in [
                    (Self.containerExec, ExecBenchmark.true),
                    (Self.containerPython, ["/usr/bin/python3", "-c", "pass"]),
                ] {
                    _ = try await exec(program)
                    for index in 0..<context.runs {
                        context.progress("\(name): \(index) of \(context.runs)")
                        samples[name, default: []].append(try await exec(program))
                    }
                }
            }
            for name in [Self.containerExec, Self.containerPython] {
                report.add(BenchRow(name, samples[name] ?? [], isBaseline: true))
            }
        }
    }

    /// A container that has run what our parents have run, stored and brought back.
    func addCheckpoints(to report: inout BenchReport) async throws {
        try await withContainer(Self.containerCheckpoint, &report) { container, report in
            var samples: [Container.Checkpoint] = []
            for index in 0..<context.slowRuns {
                context.progress("\(Self.containerCheckpoint): \(index) of \(context.slowRuns)")
                samples.append(
                    try await container.checkpoint(after: ["/usr/bin/python3"] + BenchServer.python.dropFirst()))
            }
            report.add(BenchRow(Self.containerCheckpoint, samples.map(\.checkpoint), isBaseline: true))
            report.add(BenchRow(Self.containerRestore, samples.map(\.restore), isBaseline: true))
            report.add(
                BenchRow(
                    Self.containerRestore + " to first exec", samples.map { $0.restore + $0.firstExec },
                    isBaseline: true))
            report.add(
                BenchRow(
                    Self.containerCheckpoint + " file", unit: .mebibytes, samples.map { Double($0.bytes) / 1_048_576 },
                    isBaseline: true))
            report.notes.append(
                "container: \(container.summary), on a copy of the template's root; its checkpoint ends it")
            report.noteComparisons()
        }
    }

    private func addRuns(_ container: Container, _ report: inout BenchReport) async throws {
        var samples: [Double] = []
        for index in 0..<context.runs {
            context.progress("\(Self.containerRun): \(index) of \(context.runs)")
            samples.append(try await container.run(ExecBenchmark.true))
        }
        report.add(BenchRow(Self.containerRun, samples, isBaseline: true))
        report.notes.append("container: \(container.summary), on a copy of the template's root")
    }

    // MARK: What they need

    /// Lets a baseline fail without taking the figures that are there with it.
    func measuring(
        _ name: String, _ report: inout BenchReport, _ body: (inout BenchReport) async throws -> Void
    ) async throws {
        do {
            try await body(&report)
        } catch let error as MartletError {
            report.notes.append("\(name): not measured: \(error.message)")
        }
    }

    func withContainer(
        _ name: String, _ report: inout BenchReport, _ body: (Container, inout BenchReport) async throws -> Void
    ) async throws {
        try await measuring(name, &report) { report in
            context.progress("\(name): unpacking the template's root")
            let image = try await templateImage()
            var measured = report
            measured = try await ScratchDirectory.with { [measured] scratch in
                var report = measured
                let container = try await Container.prepare(root: image.rootDisk, in: scratch.path)
                try await body(container, &report)
                return report
            }
            report = measured
        }
    }

    /// Hands over what a raw boot needs, and a directory for it.
    func withRecipe<Result: Sendable>(
        _ report: BenchReport, _ body: (RawMachine.Recipe, String) async throws -> Result
    ) async throws -> Result {
        guard let emulator = ProgramRun.find("qemu-system-x86_64"), let diskTool = ProgramRun.find("qemu-img") else {
            throw MartletError(.failedPrecondition, "qemu is not installed on this machine")
        }
        let recipe = RawMachine.Recipe(
            image: try await templateImage(), accelerator: Accelerator(rawValue: report.machine.accelerator) ?? .tcg,
            emulator: emulator, diskTool: diskTool, tscKilohertz: try await RawMachine.measureClockRate())
        return try await ScratchDirectory.with { try await body(recipe, $0.path) }
    }

    private func templateImage() async throws -> TemplateImage {
        try await ImageStore(
            directory: context.images, templatesDirectory: context.templateDefinitions,
            guestAgent: context.guestAgent, logger: Logger(label: "bench")
        ).template(named: context.template)
    }
}
