import ArgumentParser
import MartletBench

/// What each kind of isolation costs.
struct BenchEnginesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engines",
        abstract: "Every wall beside bare runsc, bare bwrap and the host: create, work, memory.")

    @Option(name: [.customShort("n"), .long], help: "Creates and commands for each figure.")
    var runs = 30

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { context in
            try await EnginesBenchmark(context: context).run()
        }
    }
}
