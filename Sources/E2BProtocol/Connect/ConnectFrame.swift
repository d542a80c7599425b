/// One message of a Connect stream: a byte of flags, four of length (big-endian), then as many of payload.
/// https://connectrpc.com/docs/protocol/#streaming-request
package struct ConnectFrame: Sendable, Equatable {
    package static let headLength = 5
    /// The largest payload that is read.
    package static let maxPayload = 16 << 20
    private static let compressed: UInt8 = 0x01
    private static let endStream: UInt8 = 0x02

    package var flags: UInt8
    package var payload: [UInt8]

    package init(flags: UInt8 = 0, payload: [UInt8]) {
        self.flags = flags
        self.payload = payload
    }

    /// The last frame of a response: says how the call went.
    package static func end(_ payload: [UInt8]) -> ConnectFrame { ConnectFrame(flags: endStream, payload: payload) }

    package var isCompressed: Bool { flags & ConnectFrame.compressed != 0 }
    package var isEnd: Bool { flags & ConnectFrame.endStream != 0 }

    package var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ConnectFrame.headLength + payload.count)
        bytes.append(flags)
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: payload.count >> shift)) }
        bytes.append(contentsOf: payload)
        return bytes
    }
}

/// Cuts a request's body into frames, however the network has cut it; never holds more than one frame and what came
/// with it.
package struct ConnectFrameDecoder: Sendable {
    private let maxPayload: Int
    private var buffer: [UInt8] = []
    private var start = 0

    package init(maxPayload: Int = ConnectFrame.maxPayload) { self.maxPayload = maxPayload }

    package mutating func append(_ bytes: some Collection<UInt8>) {
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// Whether a frame has begun and is not whole.
    package var isInsideFrame: Bool { buffer.count > start }

    /// The next whole frame; nil when more bytes are needed.
    ///
    /// - Throws: `resource_exhausted` for one that is too large, `invalid_argument` for flags that nobody may send,
    ///   `unimplemented` for compression, which was not offered.
    package mutating func next() throws(ConnectError) -> ConnectFrame? {
        guard buffer.count - start >= ConnectFrame.headLength else { return nil }
        let length = buffer[(start + 1)..<(start + ConnectFrame.headLength)].reduce(0) { $0 << 8 | Int($1) }
        guard length <= maxPayload else {
            throw ConnectError(.resourceExhausted, "message size \(length) is larger than \(maxPayload) bytes")
        }
        let frame = ConnectFrame(flags: buffer[start], payload: [])
        guard !frame.isEnd, frame.flags & ~1 == 0 else {
            throw ConnectError(.invalidArgument, "frame flags \(frame.flags) are not for requests")
        }
        guard !frame.isCompressed else { throw ConnectError(.unimplemented, "compressed messages are not supported") }
        let first = start + ConnectFrame.headLength
        guard buffer.count - first >= length else { return nil }
        start = first + length
        return ConnectFrame(flags: frame.flags, payload: Array(buffer[first..<start]))
    }
}
