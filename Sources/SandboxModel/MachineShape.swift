/// The size of a sandbox. A capture exists per (template, cpus, memory); the disk may grow at create.
public struct MachineShape: Sendable, Hashable, Codable {
    public var cpus: Int
    public var memoryMiB: Int

    /// Checks both numbers against what a sandbox may have.
    ///
    /// - Throws: `invalid_argument` naming `cpus` or `memory_mb`.
    public init(cpus: Int, memoryMiB: Int, maxCPUs: Int = 16, maxMemoryMiB: Int = 65_536) throws(MartletError) {
        guard (1...maxCPUs).contains(cpus) else {
            throw .invalid("cpus", "\(cpus) is outside 1...\(maxCPUs)")
        }
        guard (128...maxMemoryMiB).contains(memoryMiB) else {
            throw .invalid("memory_mb", "\(memoryMiB) is outside 128...\(maxMemoryMiB)")
        }
        guard memoryMiB.isMultiple(of: 2) else {
            throw .invalid("memory_mb", "\(memoryMiB) is odd; memory comes in steps of 2 MiB")
        }
        self.cpus = cpus
        self.memoryMiB = memoryMiB
    }
}
