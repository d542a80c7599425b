import ArgumentParser
import Glibc
import MartletBench
import SandboxModel

/// The way of every benchmark from its options to its output.
enum BenchSession {
    private enum Outcome: Sendable {
        case finished(BenchReport)
        case interrupted(by: Int32)
    }

    /// Runs a benchmark, prints what it found, and ends with 1 when something that must hold does not.
    ///
    /// An interruption ends it orderly: daemons and machines are gone when this throws. A second one is not waited for.
    static func run(
        _ options: BenchOptions, runs: Int,
        _ benchmark: @escaping @Sendable (BenchContext) async throws -> BenchReport
    ) async throws {
        guard (1...100_000).contains(runs) else { throw ValidationError("-n \(runs) is outside 1...100000") }
        let display = BenchDisplay()
        defer { display.finish() }
        let context = try options.context(runs: runs) { display.show($0) }
        let signals = Signals()
        let outcome = try await withThrowingTaskGroup(of: Outcome?.self) { group in
            group.addTask { .finished(try await benchmark(context)) }
            group.addTask {
                for await number in signals.stream where number != SIGWINCH { return .interrupted(by: number) }
                return nil
            }
            defer { group.cancelAll() }
            while let outcome = try await group.next() {
                if let outcome { return outcome }
            }
            throw CancellationError()
        }
        display.finish()
        switch outcome {
        case .interrupted(let number):
            throw ExitCode(128 + number)
        case .finished(let report):
            try options.output.show(report) { BenchTable.text(report) }
            if !report.hasPassed { throw ExitCode(1) }
        }
    }
}
