/// An unguessable sandbox name that is safe as a path component, DNS label and SQL key: 20 characters of [a-z0-9].
public struct SandboxID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: String

    /// Accepts exactly what `random()` makes; anything else is nil.
    public init?(rawValue: String) {
        guard rawValue.utf8.count == RandomID.length, rawValue.utf8.first == UInt8(ascii: "s"),
            rawValue.utf8.allSatisfy({ RandomID.alphabet.contains($0) })
        else { return nil }
        self.rawValue = rawValue
    }

    /// A new id with 95 bits from the system's generator.
    public static func random() -> SandboxID {
        SandboxID(unchecked: RandomID.make(prefix: "s"))
    }

    private init(unchecked: String) { rawValue = unchecked }

    public var description: String { rawValue }
}

/// Makes ids of one shape: a letter that tells the kind, then random base-32 characters.
public enum RandomID {
    /// Characters in an id, prefix included.
    public static let length = 20
    /// Lower-case base 32 without the letters that read like digits (i, l, o, u), as in Crockford's encoding.
    public static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    /// Makes `length` characters starting with `prefix`; the rest is drawn from the system's generator.
    public static func make(prefix: Character, length: Int = RandomID.length) -> String {
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length)
        var pool: UInt64 = 0
        var bits = 0
        while bytes.count < length - 1 {
            if bits < 5 {
                pool = generator.next()
                bits = 60
            }
            bytes.append(alphabet[Int(pool & 31)])
            pool >>= 5
            bits -= 5
        }
        return String(prefix) + String(decoding: bytes, as: UTF8.self)
    }
}
