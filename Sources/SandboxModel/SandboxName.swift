/// A human's name for a sandbox or template: 1-63 of [a-z0-9-], no dash at either end, so that it is also a DNS label.
public struct SandboxName: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: String

    public init?(rawValue: String) {
        let bytes = Array(rawValue.utf8)
        guard (1...63).contains(bytes.count), bytes.first != UInt8(ascii: "-"), bytes.last != UInt8(ascii: "-"),
            bytes.allSatisfy({ byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
            })
        else { return nil }
        self.rawValue = rawValue
    }

    /// Parses a name given by a client; throws `invalid_argument` naming `field`.
    public static func parse(_ text: String, field: String) throws(MartletError) -> SandboxName {
        guard let name = SandboxName(rawValue: text) else {
            throw .invalid(
                field, "must be 1-63 of a-z, 0-9 and dashes, with no dash at either end")
        }
        return name
    }

    public var description: String { rawValue }
}
