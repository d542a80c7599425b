/// The spec as bytes: for each field a tag, the length of what follows as 32 bits, little-endian, and that. Lists repeat
/// the tag. Read by a program that has no JSON, and of our own.
extension JailSpec {
    /// Longer ones are none of ours, and would not fit a pipe that nobody reads yet.
    public static let maxBytes = 60_000

    private enum Tag: UInt8 {
        case root = 1, bind, uid, gid, hostname, limit, filter, program, argument, environment
    }

    private enum BindFlag {
        static let writable: UInt8 = 1
        static let devices: UInt8 = 2
    }

    /// - Throws: `JailFailure` when it is too long.
    public func encoded() throws(JailFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ tag: Tag, _ value: [UInt8]) {
            bytes.append(tag.rawValue)
            bytes += JailSpec.bytes(UInt32(clamping: value.count), 4)
            bytes += value
        }
        func add(_ tag: Tag, _ text: String) { add(tag, Array(text.utf8)) }
        func add(_ tag: Tag, _ number: UInt32) { add(tag, JailSpec.bytes(number, 4)) }
        add(.root, root)
        for bind in binds {
            let flags = (bind.isWritable ? BindFlag.writable : 0) | (bind.hasDevices ? BindFlag.devices : 0)
            add(.bind, [flags] + Array(bind.source.utf8) + [0] + Array(bind.target.utf8))
        }
        add(.uid, uid)
        add(.gid, gid)
        add(.hostname, hostname)
        for limit in limits { add(.limit, JailSpec.bytes(limit.resource.rawValue, 4) + JailSpec.bytes(limit.value, 8)) }
        add(.filter, filter)
        add(.program, program)
        for argument in arguments { add(.argument, argument) }
        for variable in environment { add(.environment, variable) }
        guard bytes.count <= JailSpec.maxBytes else {
            throw JailFailure(step: "write the spec", object: program, reason: "it has \(bytes.count) bytes")
        }
        return bytes
    }

    /// - Throws: `JailFailure` for bytes that are no whole spec.
    public init(decoding bytes: [UInt8]) throws(JailFailure) {
        self.init(root: "", uid: 0, gid: 0, hostname: "", program: "", arguments: [])
        func wrong(_ why: String) -> JailFailure {
            JailFailure(step: "read the spec", object: "\(bytes.count) bytes", reason: why)
        }
        var seen: Set<UInt8> = []
        var at = 0
        while at < bytes.count {
            guard at + 5 <= bytes.count, let tag = Tag(rawValue: bytes[at]) else {
                throw wrong("byte \(at) is no field")
            }
            let length = Int(JailSpec.number(bytes[(at + 1)..<(at + 5)]))
            guard length <= bytes.count - at - 5 else { throw wrong("the field at byte \(at) is cut off") }
            let value = bytes[(at + 5)..<(at + 5 + length)]
            at += 5 + length
            seen.insert(tag.rawValue)
            switch tag {
            case .root: root = String(decoding: value, as: UTF8.self)
            case .bind:
                guard let flags = value.first, let gap = value.dropFirst().firstIndex(of: 0) else {
                    throw wrong("a bind without a target")
                }
                binds.append(
                    Bind(
                        String(decoding: value[(value.startIndex + 1)..<gap], as: UTF8.self),
                        at: String(decoding: value[(gap + 1)...], as: UTF8.self),
                        isWritable: flags & BindFlag.writable != 0, hasDevices: flags & BindFlag.devices != 0))
            case .uid: uid = UInt32(truncatingIfNeeded: JailSpec.number(value))
            case .gid: gid = UInt32(truncatingIfNeeded: JailSpec.number(value))
            case .hostname: hostname = String(decoding: value, as: UTF8.self)
            case .limit:
                guard value.count == 12,
                    let resource = Limit.Resource(
                        rawValue: UInt32(truncatingIfNeeded: JailSpec.number(value.prefix(4))))
                else { throw wrong("a limit of something unknown") }
                limits.append(Limit(resource, JailSpec.number(value.dropFirst(4))))
            case .filter: filter = Array(value)
            case .program: program = String(decoding: value, as: UTF8.self)
            case .argument: arguments.append(String(decoding: value, as: UTF8.self))
            case .environment: environment.append(String(decoding: value, as: UTF8.self))
            }
        }
        // What decides who the program is must have been said: left out, it would be root, or unfiltered.
        for tag in [Tag.root, .uid, .gid, .filter, .program] where !seen.contains(tag.rawValue) {
            throw wrong("it does not say \(tag)")
        }
    }

    private static func bytes<Number: FixedWidthInteger>(_ value: Number, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
