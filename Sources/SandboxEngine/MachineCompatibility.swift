/// What a captured machine needs of the host that restores it.
package struct MachineCompatibility: Sendable, Codable, Equatable {
    /// Engine and accelerator, for example `qemu-tcg`.
    package var engine: String
    package var version: String
    /// Digest of every argument that shapes the virtual machine: its devices, processors and memory.
    package var machine: String
    /// Processor features the guest may have found; empty under emulation, where the engine's version decides.
    package var processorFeatures: [String]
    /// The rate of the time stamp counter, which the guest counts its time by; 0 when it does not depend on it.
    package var timeStampKilohertz: UInt64

    package init(
        engine: String, version: String, machine: String, processorFeatures: [String], timeStampKilohertz: UInt64
    ) {
        self.engine = engine
        self.version = version
        self.machine = machine
        self.processorFeatures = processorFeatures
        self.timeStampKilohertz = timeStampKilohertz
    }

    /// Clocks that differ by more than this (two seconds in an hour) are another clock.
    private static let clockTolerance = 1800.0

    /// Why a capture that needs this cannot be restored on `host`; nil when it can.
    package func obstacle(on host: MachineCompatibility) -> String? {
        guard engine == host.engine else {
            return "it was captured by \(engine), and this host has \(host.engine)"
        }
        guard version == host.version else {
            return "it was captured by \(engine) \(version), and this host has version \(host.version)"
        }
        guard machine == host.machine else {
            return "its virtual machine has other devices than this version of Martlet gives one"
        }
        let missing = Set(processorFeatures).subtracting(host.processorFeatures)
        guard missing.isEmpty else {
            return "this host's processor lacks \(missing.sorted().joined(separator: ", "))"
        }
        let (theirs, ours) = (Double(timeStampKilohertz), Double(host.timeStampKilohertz))
        guard abs(theirs - ours) * MachineCompatibility.clockTolerance <= max(theirs, ours) else {
            return
                "its clock counts \(timeStampKilohertz) kHz, and this host's \(host.timeStampKilohertz) kHz: time would go "
                + "wrong in the guest"
        }
        return nil
    }
}
