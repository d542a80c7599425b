import GuestProtocol
import LinuxSystem

extension Thaw {
    /// For a sandbox that begins.
    static func forCreate(
        hostname: String, environment: [String], user: String, diskMiB: Int?
    ) -> @Sendable () -> Thaw {
        {
            var thaw = Thaw.fresh(hostname: hostname)
            thaw.environment = environment
            thaw.user = user
            thaw.diskBytes = UInt64(diskMiB ?? 0) << 20
            return thaw
        }
    }

    /// For a sandbox that goes on from another one's memory.
    static func forFork(
        hostname: String, environment: [String], inheritsEnvironment: Bool, user: String
    ) -> @Sendable () -> Thaw {
        {
            var thaw = Thaw.fresh(hostname: hostname)
            thaw.environment = environment
            thaw.user = user
            thaw.keepsEnvironment = inheritsEnvironment
            thaw.dropsConnections = true
            thaw.renewsHostKeys = true
            return thaw
        }
    }

    /// For a sandbox that goes on from its own memory.
    ///
    /// - Parameter isRewound: whether it has gone on since, so that the other ends of its connections know more than it
    ///   does. After a pause they only waited.
    static func forResume(isRewound: Bool) -> @Sendable () -> Thaw {
        {
            var thaw = Thaw.fresh(hostname: "")
            thaw.keepsIdentity = true
            thaw.keepsEnvironment = true
            thaw.dropsConnections = isRewound
            return thaw
        }
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
