import ArgumentParser
import MartletBench

/// How long a sandbox takes to be put away with its memory, and to come back.
struct BenchPauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Pausing and resuming a sandbox, and what is stored for it.")

    @Option(name: [.customShort("n"), .long], help: "Cycles.")
    var runs = 20

    @Option(name: .long, help: "Isolation of the sandboxes; what the daemon prefers if absent.")
    var isolation: String?

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { [isolation] context in
            var context = context
            context.isolation = isolation
            return try await PauseBenchmark(context: context).run()
        }
    }
}
