import ArgumentParser
import MartletBench

/// How long it takes to name a state, and to make sandboxes that go on from it.
struct BenchRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Snapshots, sandboxes made from one, and a sandbox's disk booted afresh.")

    @Option(name: [.customShort("n"), .long], help: "Snapshots and creates for each figure.")
    var runs = 20

    @Option(name: .long, help: "How many creates at once, as a list.")
    var concurrency = ConcurrencyArgument([1, 4])

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { [concurrency] context in
            try await RestoreBenchmark(context: context, concurrency: concurrency.levels).run()
        }
    }
}
