import GuestClient
import GuestProtocol
import LinuxSystem
import SandboxModel

extension BootImage {
    /// How long the guest is left alone before it is captured. Its kernel puts work off (grace periods, write-back,
    /// timers) and tells nobody when it is done; what is still due at the capture is done again by every sandbox, on
    /// the way of its create.
    private static let settling: Duration = .seconds(2)

    /// Makes a guest that was booted from the image ready to be captured: waits for its agent, starts its services, warms
    /// it up, and lets it come to rest.
    ///
    /// - Parameter bootTimeout: for the agent's first answer.
    package func prepare(
        _ guest: GuestConnection, bootTimeout: Duration, progress: @escaping @Sendable (String) -> Void
    ) async throws {
        let hello = try await guest.ping(timeout: bootTimeout)
        progress("booted Linux \(hello.kernel) in \(hello.uptimeMilliseconds) ms of its own time")
        try await guest.startServices(services, environment: environment, progress: progress)
        for command in warmup { try await BootImage.warm(guest, command, progress) }
        try await BootImage.rehearse(guest)
        progress("capturing memory and devices")
        try await quiet(guest)
        try await Task.sleep(for: BootImage.settling)
    }

    /// Brings the disk up to date. Services are held first, and captured so: none runs in a sandbox before it is thawed.
    private func quiet(_ guest: GuestConnection) async throws {
        guard !services.isEmpty else { return try await guest.freeze() }
        let held = try await guest.hold(timeout: .seconds(10), flush: true)
        guard held.frozen, held.flushed else {
            throw MartletError(
                .failedPrecondition, "capture: the services could not be stopped and brought to the disk for it")
        }
    }

    /// A thaw like the one every sandbox gets, so that what it reads is in the captured memory already; its host name is
    /// as long as a sandbox's id, so that files keep their length.
    private static func rehearse(_ guest: GuestConnection) async throws {
        try await guest.thaw(
            Thaw(
                wallClockNanoseconds: Clocks.realtimeNanoseconds,
                entropy: (0..<64).map { _ in UInt8.random(in: .min ... .max) }, hostname: "template-of-martlet-",
                machineID: String(repeating: "0", count: 32)))
    }

    private static func warm(
        _ guest: GuestConnection, _ command: [String], _ progress: @Sendable (String) -> Void
    ) async throws {
        progress("warming up: \(command.joined(separator: " ").prefix(60))")
        let outcome = try await guest.exec(
            StartProcess(arguments: command, timeoutMilliseconds: 120_000), outputLimit: 65_536)
        guard outcome.exit.code == 0 else {
            throw MartletError(
                .failedPrecondition,
                "warm up: \(command.joined(separator: " ")): it ended with \(outcome.exit.code): "
                    + String(decoding: outcome.standardError.suffix(300), as: UTF8.self))
        }
    }
}
