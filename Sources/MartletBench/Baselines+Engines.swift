import Glibc
import LinuxSystem
import SandboxModel

extension Baselines {
    static let bubblewrapRun = "bwrap true"

    /// The bare program to compare a wall's creates with.
    static func bareRun(_ wall: String) -> String {
        switch wall {
        case "gvisor": containerRun
        case "process": bubblewrapRun
        default: boot
        }
    }

    /// Work on the host itself, by the host's own programs.
    static func hostWork(_ name: String) -> String { "\(name), host" }

    /// The same work under bare `runsc`, bare `bwrap` and none of both, all on one copy of the template's root.
    func addBare(to report: inout BenchReport) async throws {
        try await withContainer("bare programs", &report) { container, report in
            try await add(Self.containerRun, to: &report) { try await container.run(ExecBenchmark.true) }
            for (name, program) in EnginesBenchmark.works {
                try await add("\(name), bare runsc, whole run", to: &report, runs: context.slowRuns) {
                    try await container.run(program)
                }
            }
            try await addBubblewrap(container, &report)
            try await addHost(container, &report)
        }
    }

    private func addBubblewrap(_ container: Container, _ report: inout BenchReport) async throws {
        try await measuring(Self.bubblewrapRun, &report) { report in
            guard let program = ProgramRun.find("bwrap") else {
                throw MartletError(.failedPrecondition, "bwrap is not installed")
            }
            let wall = [
                "--unshare-all", "--ro-bind", container.root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs",
                "/tmp",
            ]
            func run(_ command: [String]) async throws -> Double {
                try await ProgramRun.milliseconds(program, wall + command, log: container.log)
            }
            try await add(Self.bubblewrapRun, to: &report) { try await run(ExecBenchmark.true) }
            for (name, command) in EnginesBenchmark.works {
                try await add("\(name), bare bwrap, whole run", to: &report, runs: context.slowRuns) {
                    try await run(command)
                }
            }
        }
    }

    private func addHost(_ container: Container, _ report: inout BenchReport) async throws {
        try await measuring("host", &report) { report in
            for (name, command) in EnginesBenchmark.works {
                let file = command[0].split(separator: "/").last.map(String.init) ?? ""
                guard let program = ProgramRun.find(file) else {
                    throw MartletError(.failedPrecondition, "\(file) is not installed")
                }
                try await add(Self.hostWork(name), to: &report, runs: context.slowRuns) {
                    try await ProgramRun.milliseconds(program, Array(command.dropFirst()), log: container.log)
                }
            }
        }
    }

    private func add(
        _ name: String, to report: inout BenchReport, runs: Int? = nil, _ sample: () async throws -> Double
    ) async throws {
        var samples: [Double] = []
        for index in 0..<(runs ?? context.runs) {
            context.progress("\(name): \(index)")
            samples.append(try await sample())
        }
        report.add(BenchRow(name, samples, isBaseline: true))
    }
}
