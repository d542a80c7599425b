import Foundation
import Testing

/// The attempts of the matrix where nothing guards: each must get through, or it would prove nothing.
@Suite(.serialized, .requiresNetworkLab, .timeLimit(.minutes(15))) struct ControlTests {
    @Test func `each attempt gets through where nothing is in its way`() async throws {
        try await NetworkLab.with { lab in
            _ = try await lab.command("unguarded", ["program": .text("\(NetworkLab.sources)/guest/attempts.py")])
            for (number, attempt) in Attempt.all.enumerated() {
                guard case .arrives = attempt.unguarded else { continue }
                let prepared = PreparedAttempt(attempt, number: number)
                let outcome = try await lab.tryUnguarded(prepared)
                #expect(!outcome.detail.contains("could not try"), "\(attempt.name): \(outcome.detail)")
                let seen = try await lab.seen(prepared.token, at: [prepared.place])
                #expect(!outcome.refused || !seen.isEmpty, "\(attempt.policy): \(attempt.name): \(outcome.detail)")
            }
        }
    }
}
