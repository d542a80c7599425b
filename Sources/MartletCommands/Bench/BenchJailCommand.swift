import ArgumentParser
import MartletBench

/// What the jail around each microVM costs.
struct BenchJailCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jail", abstract: "What the jail around a microVM adds to a create, beside a daemon without it.")

    @Option(name: [.customShort("n"), .long], help: "Creates for each figure.")
    var runs = 30

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { context in
            try await JailBenchmark(context: context).run()
        }
    }
}
