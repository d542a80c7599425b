import GuestProtocol
import SandboxModel

extension GuestConnection {
    /// Asks who is there.
    package func ping(timeout: Duration = .seconds(5)) async throws -> GuestHello {
        try await call(.ping, timeout: timeout)
    }

    /// Makes a restored guest its own.
    ///
    /// - Throws: `unavailable` when any promise of the thaw was not kept.
    package func thaw(_ message: Thaw, timeout: Duration = .seconds(10)) async throws {
        let answer: Thawed = try await call(.thaw, message.encoded, timeout: timeout)
        guard answer.isComplete else {
            throw MartletError(
                .unavailable,
                "thaw: the guest did not do all of it: clock \(answer.clockSet), generator \(answer.generatorReseeded), "
                    + "identity \(answer.identitySet), disk \(answer.diskGrown)")
        }
    }

    /// Flushes the guest's file systems; the guest is quiet when this returns.
    package func freeze(timeout: Duration = .seconds(30)) async throws {
        _ = try await callForPayload(.freeze, timeout: timeout)
    }

    /// Counters of the guest's own kernel.
    package func metrics(timeout: Duration = .seconds(5)) async throws -> GuestMetrics {
        try await call(.metrics, timeout: timeout)
    }
}
