/// What engines differ in; programs, files, limits and networks work the same in all.
public enum EngineCapability: String, Sendable, Codable, CaseIterable, Comparable {
    /// Running sandboxes are captured with their memory: snapshots, checkpoints, rewinds.
    case snapshots
    /// Sandboxes go on as several.
    case fork
    /// Sandboxes are put to storage with their memory, and go on from there.
    case pause
    /// A sandbox is booted afresh from its disk.
    case reboot
    /// A disk can be larger than the template's.
    case diskGrowth = "disk-growth"
    /// Sandboxes have a network card.
    case network

    public static func < (left: EngineCapability, right: EngineCapability) -> Bool { left.rawValue < right.rawValue }
}

extension MartletError {
    /// What an engine answers to what it cannot do.
    public static func unsupported(
        _ capability: EngineCapability, _ action: String, _ object: String, engine: String
    ) -> MartletError {
        MartletError(
            .unsupported,
            "\(action): \(object): engine \(engine) has no \(capability.rawValue); make the sandbox with isolation 'microvm' "
                + "for that",
            details: ["engine": engine, "capability": capability.rawValue])
    }
}
