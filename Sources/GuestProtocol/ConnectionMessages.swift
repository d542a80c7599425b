/// Connects to a service inside the guest: a `ConnectionEvent.opened` as reply, then data both ways. The host's end
/// frame closes what the service reads; a reply `ConnectionEvent.finished` says that the service sends no more. When
/// both are said the stream ends, empty. Broken off by the service it fails with `connectionReset`.
public struct Connect: WireMessage {
    /// A TCP port, not 0. Tried at 127.0.0.1, then ::1, then the guest's own addresses.
    public var port: UInt16

    public init(port: UInt16) { self.port = port }
    public func write(to writer: inout WireWriter) { writer.u16(port) }
    public init(from reader: inout WireReader) throws(WireError) { port = try reader.u16() }
}

/// What a reply of `connect` tells.
public struct ConnectionEvent: WireMessage, Equatable {
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// The service has taken the connection.
        case opened = 1
        /// The service sends no more; it may still read.
        case finished = 2
    }

    public var kind: Kind

    public init(_ kind: Kind) { self.kind = kind }
    public func write(to writer: inout WireWriter) { writer.u8(kind.rawValue) }
    public init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.u8()
        guard let kind = Kind(rawValue: number) else { throw WireError("connection event \(number) is unknown") }
        self.kind = kind
    }
}
