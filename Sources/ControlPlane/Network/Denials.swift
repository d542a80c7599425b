import LinuxSystem
import Metrics
import SandboxModel
import Synchronization

/// Makes events and counts out of what networks refuse.
final class Denials: Sendable {
    static let kind = "network_denied"

    /// No one denial stands for more than this, whatever it says.
    private static let mostAtOnce = 1 << 20

    private let events: Events
    private let budget = Mutex(DenialBudget())
    /// Told when something may have to wait.
    private let wake = BoundedChannel<Void>(capacity: 1)

    init(events: Events) { self.events = events }

    /// Takes note of something a sandbox was refused. Returns at once.
    func note(_ id: SandboxID, _ denial: NetworkDenial) {
        let rule = NetworkDenial.rules.contains(denial.rule) ? denial.rule : NetworkDenial.otherRule
        Counter(label: "martlet_network_denied_total", dimensions: [("rule", rule)])
            .increment(by: min(max(1, denial.count), Denials.mostAtOnce))
        let isNow = budget.withLock { $0.admit(denial, rule: rule, of: id, now: Denials.milliseconds) }
        if isNow { tell(id, denial) }
        wake.offer(())
    }

    /// Forgets a sandbox that is gone.
    func forget(_ id: SandboxID) { budget.withLock { $0.forget(id) } }

    /// Tells what had to wait, until cancelled.
    func run() async {
        while !Task.isCancelled, (try? await wake.nextBatch()) != nil {
            while !Task.isCancelled, !budget.withLock({ $0.isIdle }) {
                // A period, not a wait for something: at which tokens come back.
                try? await Task.sleep(for: .seconds(1))
                for (id, denial) in budget.withLock({ $0.due(now: Denials.milliseconds) }) { tell(id, denial) }
            }
        }
    }

    private func tell(_ id: SandboxID, _ denial: NetworkDenial) {
        events.note(id, Denials.kind, denial.sentence, denial.details, at: denial.time)
    }

    private static var milliseconds: Int64 { Clocks.monotonicNanoseconds / 1_000_000 }
}

extension NetworkDenial {
    /// What is told of it. Names are the guest's words.
    var details: [String: String] {
        [
            "rule": rule.printable, "kind": kind.rawValue, "transport": transport.printable(16),
            "name": name?.printable(255), "address": address?.printable(45), "port": port.map { "\($0)" },
            "count": "\(max(1, count))",
        ].compactMapValues(\.self)
    }

    var sentence: String {
        let port = port.map { ":\($0)" } ?? ""
        let target =
            switch (name?.printable(255), address?.printable(45)) {
            case (let name?, let address?): " \(name)\(port) (\(address))"
            case (let known?, nil), (nil, let known?): " \(known)\(port)"
            case (nil, nil): count > 1 ? "s" : ""
            }
        let what =
            switch kind {
            case .connection: "\(transport.printable(16)) connection"
            case .lookup: "look-up"
            case .packet: "\(transport.printable(16)) packet"
            }
        return "\(what)\(target) refused: \(rule.printable)" + (count > 1 ? " (\(count) times)" : "")
    }
}
