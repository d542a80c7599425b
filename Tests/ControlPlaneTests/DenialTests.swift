import ControlStore
import FoundationEssentials
import Logging
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("What networks refuse")
struct DenialTests {
    private func denial(
        _ rule: String = "blocked-address", name: String? = nil, address: String? = "169.254.169.254",
        port: UInt16? = 80, count: Int = 1
    ) -> NetworkDenial {
        NetworkDenial(
            time: Timestamp(milliseconds: 1_700_000_000_000), kind: name == nil ? .connection : .lookup, rule: rule,
            transport: "tcp", name: name, address: address, port: port, count: count)
    }

    @Test("Each is an event that says what, where to, and by which rule")
    func told() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create()
            let id = try #require(SandboxID(rawValue: made.id))
            fixture.node.deny(id, denial())
            fixture.node.deny(
                id, denial("lookup-not-allowed", name: "evil\u{1B}[2J.example", address: nil, port: nil, count: 3))
            try await fixture.waitForEvent(
                made.id, kind: "network_denied", message: "tcp connection 169.254.169.254:80 refused: blocked-address")
            try await fixture.waitForEvent(
                made.id, kind: "network_denied",
                message: "look-up evil?[2J.example refused: lookup-not-allowed (3 times)")
            var events: [SandboxEvent] = []
            try await fixture.plane.sandboxes.history(of: made.id, after: 0, follow: false, caller: .local) {
                if $0.event.kind == "network_denied" { events.append($0.event) }
            }
            #expect(events.map(\.time.milliseconds) == [1_700_000_000_000, 1_700_000_000_000])
            #expect(
                events[0].details == [
                    "rule": "blocked-address", "kind": "connection", "transport": "tcp", "address": "169.254.169.254",
                    "port": "80", "count": "1",
                ])
            #expect(events[1].details["name"] == "evil?[2J.example" && events[1].details["count"] == "3")
        }
    }

    @Test("A guest that is refused all the time costs a bounded number of events, and none of its history but those")
    func flood() async throws {
        try await PlaneFixture.with(configure: {
            $0.maxEventsPerSandbox = 20
            $0.maxDenialsPerSandbox = 5
        }) { fixture in
            let (noisy, quiet) = (try await fixture.create(), try await fixture.create())
            let id = try #require(SandboxID(rawValue: noisy.id))
            let other = try #require(SandboxID(rawValue: quiet.id))
            for number in 0..<5000 { fixture.node.deny(id, denial(port: UInt16(number % 60_000 + 1))) }
            fixture.node.deny(other, denial("ipv6"))
            try await fixture.waitForEvent(quiet.id, kind: "network_denied")
            _ = try await fixture.plane.sandboxes.update(
                noisy.id, UpdateSandboxRequest(timeoutSeconds: 60), caller: .local)
            try await fixture.waitForEvent(noisy.id, kind: "timeout")
            var denied = 0
            try await fixture.plane.sandboxes.history(of: noisy.id, after: 0, follow: false, caller: .local) {
                if $0.event.kind == "network_denied" { denied += 1 }
            }
            #expect((1..<200).contains(denied), "\(denied)")
            let sandboxes = fixture.plane.sandboxes
            await Maintenance(
                configuration: sandboxes.configuration, store: fixture.store, shelf: sandboxes.shelf,
                builds: fixture.plane.templates.builds, logger: .silent
            ).prune()
            let left = try await fixture.store.events(of: id, after: 0, limit: 1000)
            #expect(left.count { $0.kind == "network_denied" } == 5)
            #expect(left.first?.kind == "state" && left.contains { $0.kind == "timeout" })
        }
    }

    // MARK: The budget

    private let guest = SandboxID.random()

    @Test("What is over the budget is counted by rule and told together when there are tokens again")
    func budget() throws {
        var budget = DenialBudget()
        let burst = Int(DenialBudget.burst)
        let told = (0..<burst + 10).map { _ in budget.admit(denial(count: 2), rule: "a", of: guest, now: 0) }
        #expect(told == Array(repeating: true, count: burst) + Array(repeating: false, count: 10))
        for _ in 0..<2 {
            let isTold = budget.admit(denial(count: .max), rule: "b", of: guest, now: 0)
            #expect(!isTold)
        }
        let isNeighbourTold = budget.admit(denial(), rule: "a", of: .random(), now: 0)
        #expect(isNeighbourTold, "another guest has a budget of its own")
        var due = budget.due(now: 10)
        #expect(due.isEmpty)
        due = budget.due(now: 1000)
        #expect(due.count == 1 && due[0].id == guest)
        #expect(due[0].denial.count == 20 && due[0].denial.port == nil && due[0].denial.address == nil)
        due = budget.due(now: 2000)
        #expect(due.count == 1 && due[0].denial.count == .max)
        due = budget.due(now: 3000)
        #expect(due.isEmpty && !budget.isIdle)
        _ = budget.due(now: 3000 + Int64(burst) * 1000)
        #expect(budget.isIdle)
    }

    @Test("All guests together have a budget, too, and clocks that go back give nothing")
    func together() {
        var budget = DenialBudget()
        var told = 0
        for _ in 0..<100 {
            let id = SandboxID.random()
            for _ in 0..<64 where budget.admit(denial(), rule: "a", of: id, now: 5000) { told += 1 }
        }
        #expect(told == Int(DenialBudget.totalBurst))
        let isTold = budget.admit(denial(), rule: "a", of: guest, now: 0)
        #expect(!isTold)
        budget.forget(guest)
        let later = budget.due(now: 6000).count
        #expect((1...Int(DenialBudget.totalPerSecond)).contains(later))
    }

    @Test("Every rule of the documentation is counted by its name, and no other")
    func rules() throws {
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
        let text = String(decoding: try Data(contentsOf: URL(filePath: root + "/docs/networking.md")), as: UTF8.self)
        var documented: Set<String> = []
        var isTable = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "| rule | refuses |" { isTable = true }
            if line.isEmpty { isTable = false }
            guard isTable, line.hasPrefix("| `"), let cell = line.split(separator: "|").first else { continue }
            documented.formUnion(
                cell.split(separator: "`").map(String.init).filter { $0.contains { $0 != " " && $0 != "," } })
        }
        #expect(documented.count > 20)
        #expect(documented == NetworkDenial.rules)
    }
}
