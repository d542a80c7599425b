/// Turns a byte stream into frames and sync markers; never traps and never grows past one frame plus one read.
///
/// A violation (bad mark, length, kind) puts the decoder into a hunt for the next `SyncMarker`: what follows a
/// broken frame cannot be trusted to be a frame.
public struct FrameDecoder: Sendable {
    /// What the decoder found.
    public enum Item: Sendable, Equatable {
        case frame(Frame)
        /// The other side (re)connected and starts afresh; answer with the same nonce.
        case sync(nonce: [UInt8])
        /// A violation was seen; everything up to the next marker is skipped.
        case lost
    }

    private var buffer: [UInt8] = []
    private var start = 0
    private var hunting: Bool
    private let awaitedNonce: [UInt8]?

    /// - Parameters:
    ///   - hunting: true when nothing before the first marker may be believed.
    ///   - nonce: the only marker a hunt ends at; nil takes any. What a program printed may look like a marker, and
    ///     what follows it like the beginning of a frame that swallows the true one.
    public init(hunting: Bool = false, nonce: [UInt8]? = nil) {
        self.hunting = hunting
        awaitedNonce = nonce
    }

    /// Bytes held that are not yet a whole item.
    public var pendingBytes: Int { buffer.count - start }

    public mutating func append(_ bytes: some Sequence<UInt8>) {
        compact()
        buffer.append(contentsOf: bytes)
    }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        compact()
        buffer.append(contentsOf: bytes)
    }

    private mutating func compact() {
        guard start > 0 else { return }
        buffer.removeSubrange(0..<start)
        start = 0
    }

    /// The next item, or nil when more bytes are needed.
    public mutating func next() -> Item? {
        if hunting { return hunt() }
        let available = buffer.count - start
        guard available >= 4 else { return nil }
        let length = word(at: start)
        if length == SyncMarker.lead {
            guard available >= SyncMarker.length else { return nil }
            return takeMarker(at: start) ?? lose()
        }
        guard length <= Frame.maxPayload else { return lose() }
        guard available >= Frame.headerLength else { return nil }
        guard UInt16(buffer[start + 10]) | UInt16(buffer[start + 11]) << 8 == Frame.headerMark,
            let kind = Frame.Kind(rawValue: buffer[start + 8])
        else { return lose() }
        let total = Int(length) + Frame.overhead
        guard available >= total else { return nil }
        let payloadStart = start + Frame.headerLength
        guard word(at: payloadStart + Int(length)) == Frame.endMark else { return lose() }
        let frame = Frame(
            stream: word(at: start + 4), kind: kind, flags: buffer[start + 9],
            payload: Array(buffer[payloadStart..<payloadStart + Int(length)]))
        start += total
        return .frame(frame)
    }

    private mutating func lose() -> Item {
        hunting = true
        return .lost
    }

    private mutating func hunt() -> Item? {
        let magic = SyncMarker.magic
        var index = start
        let last = buffer.count - SyncMarker.length
        while index <= last {
            let zeros = zeroBytes(from: index, before: last)
            if zeros > 0 {
                index += zeros
            } else {
                if buffer[index] == magic[0], let item = takeMarker(at: index) { return item }
                index += 1
            }
        }
        start = max(start, min(index, max(0, buffer.count - SyncMarker.length + 1)))
        return nil
    }

    /// How many bytes from `index` on, in whole words, are zero: a takeover sends tens of thousands of them, and it is
    /// the first thing a restored guest runs through, in code that is translated anew.
    private func zeroBytes(from index: Int, before last: Int) -> Int {
        buffer.withUnsafeBytes { bytes in
            var position = index
            while position + 8 <= last, bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self) == 0 {
                position += 8
            }
            return position - index
        }
    }

    private mutating func takeMarker(at index: Int) -> Item? {
        let magic = SyncMarker.magic
        for offset in 0..<magic.count where buffer[index + offset] != magic[offset] { return nil }
        let nonceStart = index + magic.count
        let nonce = Array(buffer[nonceStart..<nonceStart + SyncMarker.nonceLength])
        if hunting, let awaitedNonce, nonce != awaitedNonce { return nil }
        start = index + SyncMarker.length
        hunting = false
        return .sync(nonce: nonce)
    }

    private func word(at index: Int) -> UInt32 {
        UInt32(buffer[index]) | UInt32(buffer[index + 1]) << 8 | UInt32(buffer[index + 2]) << 16
            | UInt32(buffer[index + 3]) << 24
    }
}
