/// An unguessable snapshot name that is safe as a path component and SQL key: 20 characters of [a-z0-9].
public struct SnapshotID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: String

    /// Accepts exactly what `random()` makes; anything else is nil.
    public init?(rawValue: String) {
        guard rawValue.utf8.count == RandomID.length, rawValue.utf8.first == UInt8(ascii: "c"),
            rawValue.utf8.allSatisfy({ RandomID.alphabet.contains($0) })
        else { return nil }
        self.rawValue = rawValue
    }

    /// A new id with 95 bits from the system's generator.
    public static func random() -> SnapshotID {
        SnapshotID(unchecked: RandomID.make(prefix: "c"))
    }

    private init(unchecked: String) { rawValue = unchecked }

    public var description: String { rawValue }
}
