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
                    + "identity \(answer.identitySet), disk \(answer.diskGrown), "
                    + "connections \(answer.connectionsDropped), host keys \(answer.hostKeysRenewed), "
                    + "certificate \(answer.certificateTrusted)")
        }
    }

    /// Holds every program of the guest still, for a capture; the agent itself goes on answering.
    ///
    /// Nothing else is sent to the guest until `release`, which is to be called whatever comes of this: requests made in
    /// between wait. Programs stay held until `release`, or until a thaw that kept all its promises, whatever `timeout` is. An agent
    /// that cannot hold programs says so in the answer; one too old to know of it fails with `unsupported`.
    ///
    /// - Parameters:
    ///   - timeout: how long the guest waits for the last program to stand still.
    ///   - flush: also brings everything written to the disk, once the programs are held.
    ///   - surveys: also looks for what a copy's thaw will have to do away with, so that the thaw is quicker.
    package func hold(
        timeout: Duration = .seconds(2), flush: Bool = false, surveys: Bool = false
    ) async throws -> Held {
        let milliseconds = UInt32(clamping: timeout / .milliseconds(1) < 1 ? 1 : Int64(timeout / .milliseconds(1)))
        let request = Hold(timeoutMilliseconds: milliseconds, flush: flush, surveys: surveys)
        // Flushing takes as long as the disk needs; but who waits for that may be waiting for a guest that is dead.
        return try await call(.hold, request.encoded, timeout: timeout + .seconds(flush ? 8 : 5))
    }

    /// Lets held programs go on; does nothing when none are held.
    package func release(timeout: Duration = .seconds(5)) async throws {
        _ = try await callForPayload(.release, timeout: timeout)
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
