import GuestProtocol
import LinuxSystem
import SandboxModel

extension Thaw {
    /// For a sandbox that begins.
    static func forCreate(
        hostname: String, environment: [String], user: String, diskMiB: Int?, network: SandboxNetwork = .closed
    ) -> @Sendable () -> Thaw {
        {
            var thaw = Thaw.fresh(hostname: hostname)
            thaw.environment = environment + network.environment(besides: environment)
            thaw.trustedCertificate = network.trustedCertificate
            thaw.user = user
            thaw.diskBytes = UInt64(diskMiB ?? 0) << 20
            return thaw
        }
    }

    /// For a sandbox that goes on from another one's memory.
    ///
    /// - Parameter given: all that was set for its programs, by whomever.
    static func forFork(
        hostname: String, environment: [String], inheritsEnvironment: Bool, user: String, network: SandboxNetwork,
        besides given: [String]
    ) -> @Sendable () -> Thaw {
        {
            var thaw = Thaw.fresh(hostname: hostname)
            thaw.environment = environment + network.environment(besides: given)
            thaw.trustedCertificate = network.trustedCertificate
            thaw.user = user
            thaw.keepsEnvironment = inheritsEnvironment
            thaw.dropsConnections = true
            thaw.renewsHostKeys = true
            return thaw
        }
    }

    /// For a sandbox that goes on from its own memory.
    ///
    /// - Parameters:
    ///   - isRewound: whether it has gone on since, so that the other ends of its connections know more than it does.
    ///     After a pause they only waited.
    ///   - given: all that was set for its programs.
    static func forResume(
        isRewound: Bool, network: SandboxNetwork, besides given: [String]
    ) -> @Sendable () -> Thaw {
        {
            var thaw = Thaw.fresh(hostname: "")
            thaw.keepsIdentity = true
            thaw.keepsEnvironment = true
            thaw.dropsConnections = isRewound
            thaw.environment = network.environment(besides: given)
            thaw.trustedCertificate = network.trustedCertificate
            return thaw
        }
    }

    /// For a sandbox that runs and is given secrets; nothing else of it changes.
    static func forSecrets(_ network: SandboxNetwork, besides given: [String]) -> Thaw {
        forResume(isRewound: false, network: network, besides: given)()
    }

    /// The time now, and randomness and a machine id nobody else has.
    static func fresh(hostname: String) -> Thaw {
        var generator = SystemRandomNumberGenerator()
        let entropy = (0..<64).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        let digits = Array("0123456789abcdef")
        let machineID = String((0..<32).map { _ in digits[Int.random(in: 0..<16, using: &generator)] })
        return Thaw(
            wallClockNanoseconds: Clocks.realtimeNanoseconds, entropy: entropy, hostname: hostname,
            machineID: machineID)
    }
}
