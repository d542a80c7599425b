import ArgumentParser
import MartletBench

/// What it costs to keep a checkpoint after every command, and to go back to one.
struct BenchRewindCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewind", abstract: "Checkpoints after every command, and going back to one.")

    @Option(name: [.customShort("n"), .long], help: "Commands, and rewinds.")
    var runs = 30

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { context in
            try await RewindBenchmark(context: context).run()
        }
    }
}
