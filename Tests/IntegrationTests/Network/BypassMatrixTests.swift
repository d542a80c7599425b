import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Every way around a policy that we know, tried in real guests as root. Each must come to nothing, be told as an event by
/// the rule it is for, and be seen nowhere outside.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .timeLimit(.minutes(15))) struct BypassMatrixTests {
    /// One line of the table.
    private struct Row: Sendable {
        var attempt: Attempt
        var guest: String
        var rule: String?
        var problems: [String] = []

        /// What stands for a rule where the kernel refuses before there is a packet.
        static let kernel = "(the kernel)"
    }

    /// Guests that work at once; more only wait for each other on a small host.
    private static let guestsAtOnce = 3

    @Test(arguments: Wall.allCases.filter(\.isInstalled)) func `no attempt gets around a policy, and each is told`(
        _ wall: Wall
    ) async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--pool-warm", "3", "--pool-shells", "1"], lab: lab) {
                fixture in
                let rows = try await attemptAll(wall, lab, fixture)
                print(table(rows))
                #expect(rows.count == Attempt.all.count && rows.count >= 40)
                for row in rows {
                    #expect(row.problems.isEmpty, "\(wall): \(row.guest): \(row.attempt.name): \(row.problems)")
                }
                #expect(rows.count { $0.rule != nil && $0.rule != Row.kernel } >= 40)
            }
        }
    }

    private func attemptAll(_ wall: Wall, _ lab: NetworkLab, _ fixture: DaemonFixture) async throws -> [Row] {
        try await withThrowingTaskGroup(of: (Int, [Row]).self) { group in
            var byGuest: [Int: [Row]] = [:]
            var number = 0
            for (index, entry) in Attempt.groups.enumerated() {
                let first = number
                number += entry.attempts.count
                if index >= Self.guestsAtOnce, let (done, rows) = try await group.next() { byGuest[done] = rows }
                group.addTask { (index, try await attempt(entry.attempts, entry.guest, first, wall, lab, fixture)) }
            }
            for try await (done, rows) in group { byGuest[done] = rows }
            return byGuest.sorted { $0.key < $1.key }.flatMap(\.value)
        }
    }

    private func attempt(
        _ attempts: [Attempt], _ guest: String, _ first: Int, _ wall: Wall, _ lab: NetworkLab,
        _ fixture: DaemonFixture
    ) async throws -> [Row] {
        let policy = try #require(attempts.first).policy
        let sandbox = try await fixture.create(
            CreateSandboxRequest(timeoutSeconds: 1200, isolation: wall.rawValue, network: policy.policy))
        let rows = try await EventWatch.with(fixture.client, sandbox.id) { watch in
            let probe = try await GuestProbe.start(fixture.client, sandbox.id)
            var rows: [Row] = []
            for (offset, attempt) in attempts.enumerated() {
                #expect(attempt.policy == policy)
                let prepared = PreparedAttempt(attempt, number: first + offset)
                rows.append(try await attemptOne(prepared, guest, wall, probe, watch, lab))
            }
            return rows
        }
        try await fixture.client.deleteSandbox(sandbox.id)
        return rows
    }

    private func attemptOne(
        _ prepared: PreparedAttempt, _ guest: String, _ wall: Wall, _ probe: GuestProbe, _ watch: EventWatch,
        _ lab: NetworkLab
    ) async throws -> Row {
        var row = Row(attempt: prepared.attempt, guest: guest)
        let start = await watch.count
        let outcome = try await probe.attempt(try prepared.line)
        // Without a kernel of its own a guest has nothing that makes packets by hand.
        let isForbidden =
            !wall.hasOwnKernel
            && (outcome.isForbidden
                || outcome.isUntried && Attempt.reconfiguring.contains(prepared.attempt.script))
        if !outcome.refused, !isForbidden { row.problems.append("got through: \(outcome.detail)") }
        if case .untold = prepared.attempt.report {
            row.rule = Row.kernel
        } else if isForbidden {
            row.rule = Row.kernel
        } else {
            let event = await watch.first(from: start) { event in
                event.kind == "network_denied" && prepared.isReported(by: event.details)
            }
            row.rule = event?.details["rule"]
        }
        if row.rule == nil {
            let told = await watch.denials(from: start)
            row.problems.append("no fitting event; there were: \(told); \(outcome.detail)")
        }
        let seen = try await lab.seen(prepared.token, at: [prepared.place])
        if !seen.isEmpty { row.problems.append("seen outside: \(seen)") }
        return row
    }

    private func table(_ rows: [Row]) -> String {
        let names = ["guest", "attempt", "script", "rule", "result"]
        let cells = rows.map { row in
            [
                row.guest, row.attempt.name, row.attempt.script, row.rule ?? "-",
                row.problems.isEmpty ? "refused, told, not seen" : "FAILED",
            ]
        }
        let widths = names.indices.map { column in ([names] + cells).map { $0[column].count }.max() ?? 0 }
        return ([names] + cells).map { line in
            line.indices.map { line[$0].padding(toLength: widths[$0], withPad: " ", startingAt: 0) }
                .joined(separator: "  ")
        }.joined(separator: "\n")
    }
}

extension NetworkLab {
    /// The daemon's options in this world.
    var daemonOptions: [String] { ["--network-dns", Self.nameServer, "--network-trust-roots", authority] }
}
