import QEMUEngine
import SandboxModel

/// What QEMU tells about a migration, out of it or into it.
struct Migration: Decodable {
    private var status: String?
    private var downtime: Double?
    private var problem: String?

    private enum CodingKeys: String, CodingKey {
        case status, downtime
        case problem = "error-desc"
    }

    /// Longest time one may take.
    private static let patience: Duration = .seconds(120)

    /// Returns when the migration that was begun is complete.
    ///
    /// - Returns: for how many milliseconds the source stood still for it, as QEMU counts.
    /// - Throws: `failed_precondition` when it failed, `timeout`.
    @discardableResult
    static func waitUntilDone(_ monitor: QMPConnection) async throws -> Double {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < patience {
            let progress = try await monitor.execute("query-migrate", as: Migration.self)
            switch progress.status {
            case "completed": return progress.downtime ?? 0
            case "failed", "cancelled":
                throw MartletError(.failedPrecondition, "migrate: \(progress.problem ?? "it failed")")
            default:
                // QEMU's event comes at every step and would be followed by the same question: a look each
                // millisecond is as exact.
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        throw MartletError(.timeout, "migrate: it was not done after \(patience)")
    }
}
