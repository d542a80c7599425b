import ControlStore
import GuestClient
import MartletAPI
import Node
import SandboxModel

extension Sandboxes {
    /// The guest of a sandbox the caller may see. One that is on its way to being paused or resumed is waited for, and
    /// one that pauses itself at its time-out is resumed.
    ///
    /// - Throws: `not_found`, `failed_precondition` when it does not run, `unavailable`, and what resuming it throws.
    package func guest(
        of idOrName: String, caller: Caller
    ) async throws -> (id: SandboxID, connection: GuestConnection) {
        let id = try find(idOrName, caller: caller).id
        return (id, try await guest(of: id) { $0.onTimeout == .pause })
    }

    /// The guest of a sandbox, resumed if it is paused and `wakes` says so.
    func guest(of id: SandboxID, wakes: (SandboxRecord) -> Bool) async throws -> GuestConnection {
        while true {
            guard let record = index.record(id) else { throw Sandboxes.notFound(id.rawValue) }
            switch record.state {
            case .running:
                do {
                    return try await node.guest(of: id)
                } catch {
                    // It may have begun to pause in between.
                    guard let state = index.record(id)?.state, state != .running, state.isLive else { throw error }
                }
            case .pausing, .resuming:
                try await turns.take(id) {}
            case .paused where wakes(record):
                try await wake(id)
            default:
                throw Sandboxes.notRunning(record)
            }
        }
    }

    private static func notRunning(_ record: SandboxRecord) -> MartletError {
        let why = record.reason.map { ": \($0)" } ?? ""
        let hint = record.state == .paused ? "; resume it first: POST /v1/sandboxes/\(record.id)/resume" : ""
        return MartletError(
            .failedPrecondition, "sandbox: \(record.id) is \(record.state.rawValue), not running\(why)\(hint)",
            details: ["sandbox": record.id.rawValue, "state": record.state.rawValue])
    }

    /// Counters of the guest's kernel and of the host's memory it holds.
    package func metrics(_ idOrName: String, caller: Caller) async throws -> SandboxMetrics {
        let (id, connection) = try await guest(of: idOrName, caller: caller)
        async let memory = node.memory(of: id)
        async let network = networkCounters(of: id)
        return SandboxMetrics(try await connection.metrics(), memory: try await memory, network: await network)
    }

    /// The end of the console, as bytes of the guest's choosing.
    package func consoleLog(_ idOrName: String, caller: Caller) async throws -> [UInt8] {
        let record = try find(idOrName, caller: caller)
        return try await node.consoleLog(of: record.id)
    }
}
