import ArgumentParser
import MartletClient
import SandboxModel

/// The same done to several things, a few at a time; what fails does not hold up the others.
enum Several {
    private static let width = 8

    /// Does `work` to each; tells every failure and ends with the exit code of the first one.
    static func run<Made: Sendable>(
        _ ids: [String], _ work: @escaping @Sendable (String) async throws -> Made
    ) async throws -> [Made] {
        let outcomes = await withTaskGroup(of: (Int, Result<Made, any Error>).self) { group in
            var outcomes: [Int: Result<Made, any Error>] = [:]
            for (place, id) in ids.enumerated() {
                if place >= width, let (done, outcome) = await group.next() { outcomes[done] = outcome }
                group.addTask {
                    do {
                        return (place, .success(try await work(id)))
                    } catch {
                        return (place, .failure(error))
                    }
                }
            }
            for await (done, outcome) in group { outcomes[done] = outcome }
            return outcomes.sorted { $0.key < $1.key }.map(\.value)
        }
        var made: [Made] = []
        var failures: [MartletError] = []
        for outcome in outcomes {
            switch outcome {
            case .success(let one): made.append(one)
            case .failure(let error as MartletError): failures.append(error)
            case .failure(let error): throw error
            }
        }
        for failure in failures { Console.complain(failure) }
        guard let first = failures.first else { return made }
        throw ExitCode(ExitStatus.code(for: first))
    }
}
