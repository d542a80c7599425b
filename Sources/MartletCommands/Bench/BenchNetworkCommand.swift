import ArgumentParser
import MartletBench

/// What a network of its own costs a sandbox.
struct BenchNetworkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network",
        abstract:
            "Throughput and latency of sandboxes' networks against a plain bridge, and what they add to a create.",
        discussion: """
            Needs root: it moves into a network namespace of its own, with a server that exists only there. Nothing of \
            it is left, and no other network is touched.
            """)

    @Option(name: [.customShort("n"), .long], help: "Creates for each figure.")
    var runs = 50

    @Option(name: .long, help: "Rounds in which throughput and latency are measured.")
    var rounds = 5

    @Option(name: .long, help: "How many rules policies are measured with, as a list.")
    var rules = RulesArgument([1000, 4096])

    @Option(name: .long, help: "How many slots are made in the background of creates.")
    var slots = 1000

    @Flag(name: .long, help: ArgumentHelp("Set when it has moved.", visibility: .private))
    var hasMoved = false

    @OptionGroup var options: BenchOptions

    func validate() throws {
        guard (1...1000).contains(rounds) else { throw ValidationError("--rounds \(rounds) is outside 1...1000") }
        guard (1...4096).contains(slots) else { throw ValidationError("--slots \(slots) is outside 1...4096") }
        guard options.url == nil else {
            throw ValidationError("--url: networks are measured on daemons of the benchmark's own, in its own network")
        }
    }

    func run() async throws {
        guard hasMoved else {
            try NetworkBenchmark.startAgain(
                program: Installation.runningExecutable, arguments: CommandLine.arguments, adding: "--has-moved")
            return
        }
        try await BenchSession.run(options, runs: runs) { [rules, rounds, slots] context in
            try await NetworkBenchmark(context: context, ruleCounts: rules.counts, rounds: rounds, slots: slots).run()
        }
    }
}

/// Numbers of rules, such as `1000,4096`.
struct RulesArgument: ExpressibleByArgument, Sendable {
    /// What one policy may have.
    static let limit = 4096

    let counts: [Int]

    init(_ counts: [Int]) { self.counts = counts }

    init?(argument: String) {
        guard let counts = ConcurrencyArgument.list(argument, upTo: Self.limit) else { return nil }
        self.counts = counts
    }

    var defaultValueDescription: String { counts.map(String.init).joined(separator: ",") }
}
