import ArgumentParser
import MartletBench

/// What many idle sandboxes cost.
struct BenchDensityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "density", abstract: "Many idle sandboxes at once: memory, processor use, and what is left after.")

    @Option(name: [.customShort("n"), .customLong("sandboxes")], help: "Sandboxes at once.")
    var count = 100

    @OptionGroup var options: BenchOptions

    func validate() throws {
        guard (1...10_000).contains(count) else { throw ValidationError("-n \(count) is outside 1...10000") }
    }

    func run() async throws {
        try await BenchSession.run(options, runs: 1) { [count] context in
            try await DensityBenchmark(context: context, count: count).run()
        }
    }
}
