import ArgumentParser
import MartletBench

/// How long a sandbox takes to come about.
struct BenchCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Creating sandboxes: a warm guest ready, a shell ready, nothing ready.")

    @Option(name: [.customShort("n"), .long], help: "Creates for each figure.")
    var runs = 50

    @Option(name: .long, help: "How many at once, as a list.")
    var concurrency = ConcurrencyArgument([1, 4, 16])

    @Option(name: .long, help: "Creates and kills in a row, to see what they leave behind; 0 for none.")
    var churn = 200

    @OptionGroup var options: BenchOptions

    func validate() throws {
        guard (0...100_000).contains(churn) else { throw ValidationError("--churn \(churn) is outside 0...100000") }
    }

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { [concurrency, churn] context in
            try await CreateBenchmark(context: context, concurrency: concurrency.levels, churn: churn).run()
        }
    }
}
