import ArgumentParser
import MartletBench

/// How long a running sandbox stands still to be forked, and how soon its children run.
struct BenchForkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fork",
        abstract: "Forking a running sandbox: the parent's pause, the children's start and their memory.")

    @Option(name: [.customShort("n"), .long], help: "Forks into one child; fewer for more children.")
    var runs = 20

    @Option(name: .long, help: "How many children of one fork, as a list.")
    var children = ChildrenArgument([1, 4, 16, 64])

    @Option(name: .long, help: "Isolation of the sandboxes; what the daemon prefers if absent.")
    var isolation: String?

    @OptionGroup var options: BenchOptions

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { [children, isolation] context in
            var context = context
            context.isolation = isolation
            return try await ForkBenchmark(context: context, children: children.counts).run()
        }
    }
}

/// How many children at a time, such as `1,4,16`.
struct ChildrenArgument: ExpressibleByArgument, Sendable {
    /// What one fork may make.
    static let limit = 64

    let counts: [Int]

    init(_ counts: [Int]) { self.counts = counts }

    init?(argument: String) {
        guard let counts = ConcurrencyArgument.list(argument, upTo: Self.limit) else { return nil }
        self.counts = counts
    }

    var defaultValueDescription: String { counts.map(String.init).joined(separator: ",") }
}
