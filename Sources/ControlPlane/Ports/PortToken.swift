import SandboxModel

/// The token of a private port: 256 random bits, known to the store by their hash only.
enum PortToken {
    private static let prefix = "mpt_"
    /// Base-32 characters that hold 256 bits.
    private static let length = 52

    static func make() -> String { prefix + RandomID.make(prefix: "0", length: length + 1).dropFirst() }

    /// Whether a text is the token. The time it takes does not depend on how much of it is right.
    static func matches(_ presented: String, hash: [UInt8]) -> Bool {
        SecretHash.isEqual(SecretHash.of(presented), hash)
    }
}
