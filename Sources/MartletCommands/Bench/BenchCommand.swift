import ArgumentParser

/// Measures Martlet on this machine, beside what one would have without it.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure speed and memory on this machine.",
        discussion: """
            Each figure is measured on daemons of its own, in directories of their own, with the built templates of \
            this user; nothing is left of them afterwards. Beside ours stands what one would have without Martlet: a \
            cold boot by plain QEMU, its migration to a file, and gVisor's runsc where it is installed. A machine with \
            other work to do gives noisy figures.

            The exit code is 1 when something that must hold does not, such as memory that grows. A promise that is \
            missed is only told: it was made for the machine in the specification.
            """,
        subcommands: [
            BenchCreateCommand.self, BenchExecCommand.self, BenchFilesCommand.self, BenchDensityCommand.self,
            BenchForkCommand.self, BenchPauseCommand.self, BenchRestoreCommand.self, BenchRewindCommand.self,
            BenchNetworkCommand.self, BenchEnginesCommand.self, BenchJailCommand.self,
        ])
}
