/// A message that ended early or holds what it must not.
public struct WireError: Error, Sendable, Equatable {
    public var what: String
    public init(_ what: String) { self.what = what }
}

/// Builds a payload: little-endian integers, and byte strings with a `u32` length before them.
public struct WireWriter: Sendable {
    public private(set) var bytes: [UInt8]

    public init(bytes: consuming [UInt8] = []) { self.bytes = bytes }

    public mutating func u8(_ value: UInt8) { bytes.append(value) }
    public mutating func bool(_ value: Bool) { bytes.append(value ? 1 : 0) }
    public mutating func u16(_ value: UInt16) { integer(value) }
    public mutating func u32(_ value: UInt32) { integer(value) }
    public mutating func u64(_ value: UInt64) { integer(value) }
    public mutating func i32(_ value: Int32) { integer(UInt32(bitPattern: value)) }
    public mutating func i64(_ value: Int64) { integer(UInt64(bitPattern: value)) }

    public mutating func blob(_ value: [UInt8]) {
        u32(UInt32(truncatingIfNeeded: value.count))
        bytes.append(contentsOf: value)
    }

    public mutating func string(_ value: String) {
        u32(UInt32(truncatingIfNeeded: value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    public mutating func strings(_ values: [String]) {
        u32(UInt32(truncatingIfNeeded: values.count))
        for value in values { string(value) }
    }

    private mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        var rest = value
        for _ in 0..<(T.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }
}

/// Reads what `WireWriter` wrote, refusing everything that does not fit.
public struct WireReader: Sendable {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes[...]
        position = 0
    }

    public var remaining: Int { bytes.endIndex - position }

    public mutating func u8() throws(WireError) -> UInt8 { try integer() }
    public mutating func bool() throws(WireError) -> Bool { try u8() != 0 }
    /// A field its message has grown later: an older peer ends the message before it, which means `absent`.
    ///
    /// Only for messages that are a whole payload; inside another message the end cannot be told.
    public mutating func bool(ifAbsent absent: Bool) throws(WireError) -> Bool {
        remaining == 0 ? absent : try bool()
    }
    /// The same for a string.
    public mutating func string(ifAbsent absent: String) throws(WireError) -> String {
        remaining == 0 ? absent : try string()
    }
    /// The same for a list of strings.
    public mutating func strings(ifAbsent absent: [String]) throws(WireError) -> [String] {
        remaining == 0 ? absent : try strings()
    }
    public mutating func u16() throws(WireError) -> UInt16 { try integer() }
    public mutating func u32() throws(WireError) -> UInt32 { try integer() }
    public mutating func u64() throws(WireError) -> UInt64 { try integer() }
    public mutating func i32() throws(WireError) -> Int32 { Int32(bitPattern: try u32()) }
    public mutating func i64() throws(WireError) -> Int64 { Int64(bitPattern: try u64()) }

    public mutating func blob() throws(WireError) -> [UInt8] {
        let length = Int(try u32())
        guard length <= remaining else { throw WireError("a byte string runs past the end") }
        defer { position += length }
        return Array(bytes[position..<position + length])
    }

    /// A string; bytes that are not UTF-8 are replaced, since a guest's names may be anything.
    public mutating func string() throws(WireError) -> String {
        String(decoding: try blob(), as: UTF8.self)
    }

    public mutating func strings() throws(WireError) -> [String] {
        let count = Int(try u32())
        guard count <= remaining / 4 else { throw WireError("a list runs past the end") }
        var values: [String] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try string()) }
        return values
    }

    /// The rest, unread.
    public mutating func rest() -> [UInt8] {
        defer { position = bytes.endIndex }
        return Array(bytes[position...])
    }

    private mutating func integer<T: FixedWidthInteger & UnsignedInteger>() throws(WireError) -> T {
        let width = T.bitWidth / 8
        guard remaining >= width else { throw WireError("an integer runs past the end") }
        var value: T = 0
        for index in (0..<width).reversed() { value = value << 8 | T(bytes[position + index]) }
        position += width
        return value
    }
}

/// A value with one form on the wire.
public protocol WireMessage: Sendable, Equatable {
    func write(to writer: inout WireWriter)
    init(from reader: inout WireReader) throws(WireError)
}

extension WireMessage {
    /// The message alone, as a payload.
    public var encoded: [UInt8] {
        var writer = WireWriter()
        write(to: &writer)
        return writer.bytes
    }

    /// Reads a whole payload; trailing bytes are allowed, so that newer peers may add fields.
    public init(decoding payload: [UInt8]) throws(WireError) {
        var reader = WireReader(payload)
        self = try Self(from: &reader)
    }
}
