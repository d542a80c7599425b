/// One frame of the guest protocol: a stream number, a kind, flags and a payload.
///
/// On the wire, little-endian: `u32 payload length · u32 stream · u8 kind · u8 flags · u16 header mark · payload ·
/// u32 end mark`. The end mark is what lets a receiver notice that a sender died in the middle of a frame and a new
/// one filled up the rest (see `SyncMarker`).
public struct Frame: Sendable, Equatable {
    /// What a frame does to its stream.
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// Host to guest: starts a stream; payload is an `OpenRequest`.
        case open = 1
        /// Guest to host: the first answer of an operation that goes on.
        case reply = 2
        /// Either way: bytes of the stream; `flags` tells the channel.
        case data = 3
        /// Either way: `u32` more bytes of data may be sent to the sender of this frame.
        case credit = 4
        /// Host to guest: no more input. Guest to host: the operation is over; payload is its result.
        case end = 5
        /// Guest to host: the operation failed; payload is a `GuestFailure`.
        case fail = 6
        /// Host to guest: the operation is not wanted any more; nothing further is sent for the stream.
        case cancel = 7
    }

    /// Payload bytes a frame may carry.
    public static let maxPayload = 65_536
    /// Payload bytes in a data frame as we send it: what the guest kernel's console driver takes in one write,
    /// less our framing.
    public static let dataChunk = 32_768 - overhead
    /// Bytes around a payload.
    public static let overhead = headerLength + trailerLength
    public static let headerLength = 12
    public static let trailerLength = 4
    static let headerMark: UInt16 = 0x544D
    static let endMark: UInt32 = 0x7E54_4C4D

    public var stream: UInt32
    public var kind: Kind
    public var flags: UInt8
    public var payload: [UInt8]

    public init(stream: UInt32, kind: Kind, flags: UInt8 = 0, payload: [UInt8] = []) {
        self.stream = stream
        self.kind = kind
        self.flags = flags
        self.payload = payload
    }

    /// A frame that grants the peer `bytes` more bytes on a stream.
    public static func credit(stream: UInt32, bytes: UInt32) -> Frame {
        var writer = WireWriter()
        writer.u32(bytes)
        return Frame(stream: stream, kind: .credit, payload: writer.bytes)
    }

    /// Appends the frame as it goes on the wire.
    public func encode(into output: inout [UInt8]) {
        Frame.encode(stream: stream, kind: kind, flags: flags, into: &output) { $0.append(contentsOf: payload) }
    }

    /// Appends a frame whose payload `body` writes straight into `output`: no copy of bulk data.
    public static func encode(
        stream: UInt32, kind: Kind, flags: UInt8, into output: inout [UInt8], body: (inout [UInt8]) -> Void
    ) {
        let start = output.count
        var header = WireWriter(bytes: output)
        output = []
        header.u32(0)
        header.u32(stream)
        header.u8(kind.rawValue)
        header.u8(flags)
        header.u16(headerMark)
        output = header.bytes
        header = WireWriter()
        body(&output)
        let length = UInt32(truncatingIfNeeded: output.count - start - headerLength)
        for index in 0..<4 { output[start + index] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(index))) }
        for index in 0..<4 { output.append(UInt8(truncatingIfNeeded: endMark >> (8 * UInt32(index)))) }
    }
}

/// Channels of a process stream, in `Frame.flags` of data frames.
public enum OutputChannel: UInt8, Sendable, CaseIterable {
    case standardOutput = 1
    case standardError = 2
}
