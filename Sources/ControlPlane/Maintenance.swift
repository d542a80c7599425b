import ControlStore
import Logging
import SandboxModel

/// Keeps the store bounded.
struct Maintenance: Sendable {
    /// How long a create may be repeated with the same idempotency key.
    static let idempotencySeconds: Int64 = 24 * 3600

    let configuration: ControlPlaneConfiguration
    let store: any DurableStore
    let shelf: SnapshotShelf
    let builds: TemplateBuilds
    let logger: Logger

    /// Prunes now and then until cancelled.
    func run() async {
        while !Task.isCancelled {
            await prune()
            await shelf.sweep()
            await builds.sweep()
            // A period, not a wait for something: nothing depends on when it runs.
            try? await Task.sleep(for: .seconds(600))
        }
    }

    func prune() async {
        do {
            try await store.pruneIdempotency(before: .now.adding(seconds: -Maintenance.idempotencySeconds))
            // First those a guest can bring about at will.
            try await store.pruneEvents(
                kind: Denials.kind, perSandbox: configuration.maxDenialsPerSandbox, total: configuration.maxDenials)
            try await store.pruneEvents(
                perSandbox: configuration.maxEventsPerSandbox, total: configuration.maxEvents)
        } catch is CancellationError {
            return
        } catch {
            logger.warning("pruning the store failed", metadata: ["error": "\(error)"])
        }
    }
}
