/// Puts together what a TLS client sends first.
struct HelloMaker {
    var serverName: String? = "good.test"
    var extraExtensions: [(UInt16, [UInt8])] = []
    /// Bytes a record carries at the most.
    var recordSize = 16_384
    var handshakeType: UInt8 = 1
    var repeatsServerName = false

    static func word(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }

    private var serverNameExtension: [UInt8] {
        guard let serverName else { return [] }
        let name = Array(serverName.utf8)
        let entry = [0] + Self.word(name.count) + name
        return Self.word(0) + Self.word(entry.count + 2) + Self.word(entry.count) + entry
    }

    var message: [UInt8] {
        var extensions = serverNameExtension + (repeatsServerName ? serverNameExtension : [])
        // supported_versions: TLS 1.3 and 1.2.
        extensions += [0, 43, 0, 5, 4, 3, 4, 3, 3]
        for (type, value) in extraExtensions {
            extensions += Self.word(Int(type)) + Self.word(value.count) + value
        }
        var body: [UInt8] = [3, 3] + (0..<32).map { UInt8($0) } + [0]
        body += [0, 4, 0x13, 0x01, 0xc0, 0x2b, 1, 0]
        body += Self.word(extensions.count) + extensions
        return [handshakeType, 0] + Self.word(body.count) + body
    }

    var bytes: [UInt8] {
        var rest = message[...]
        var result: [UInt8] = []
        while !rest.isEmpty {
            let piece = rest.prefix(recordSize)
            result += [22, 3, 1] + Self.word(piece.count) + piece
            rest = rest.dropFirst(recordSize)
        }
        return result
    }
}
