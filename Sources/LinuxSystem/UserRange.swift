import CLinux

/// Users and groups of the host that are those of one sandbox, and of nothing else.
public struct UserRange: Sendable, Hashable, Codable {
    /// The host's user that is root inside.
    public var first: UInt32
    public static let count: UInt32 = 65_536

    public init(first: UInt32) { self.first = first }

    /// A user namespace in which 0 to 65535 are these. No further one can be made below it.
    ///
    /// Blocks the thread for about a millisecond.
    public func makeNamespace() throws(SystemError) -> Descriptor {
        Descriptor(
            owning: try SystemError.check(
                clinux_userns_create(first, UserRange.count), "make", "user namespace"))
    }
}
