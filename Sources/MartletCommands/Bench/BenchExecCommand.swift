import ArgumentParser
import MartletBench

/// How long a command takes, and how much of that is ours.
struct BenchExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Running commands in a warmed sandbox, and martlet run as a whole.")

    @Option(name: [.customShort("n"), .long], help: "Commands for each figure.")
    var runs = 100

    @Option(name: .long, help: "How many at once, as a list.")
    var concurrency = ConcurrencyArgument([1, 4, 16])

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { [concurrency] context in
            try await ExecBenchmark(context: context, concurrency: concurrency.levels).run()
        }
    }
}
