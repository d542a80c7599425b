/// The mark by which host and guest agree where the byte stream starts afresh.
///
/// The host sends it when it connects; the guest drops every open stream, forgets what it had queued, and answers
/// with the same marker. The host believes nothing before that answer. A host that takes over from a killed one
/// first sends `flush` zero bytes: they complete whatever frame was cut off, whose end mark is then wrong.
public enum SyncMarker {
    /// The first word: no valid frame has this length.
    static let lead: UInt32 = 0xFFFF_FFFF
    static let magic: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF] + Array("martlet-sync".utf8)
    /// Random bytes chosen by the host for each connection.
    public static let nonceLength = 16
    /// Bytes of a whole marker.
    public static let length = 32
    /// Zero bytes that surely end a frame that was cut off.
    public static let flushLength = Frame.maxPayload + Frame.overhead

    /// The marker as bytes; `nonce` must have `nonceLength` bytes.
    public static func bytes(nonce: [UInt8]) -> [UInt8] {
        magic + nonce.prefix(nonceLength) + [UInt8](repeating: 0, count: max(0, nonceLength - nonce.count))
    }
}
