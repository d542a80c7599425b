/// Makes lines of output as it comes: without what moves a cursor, and no longer than a limit.
struct LineSplitter {
    private let limit: Int
    private var rest: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// The lines that are whole now. A carriage return ends one as well: it is how progress is shown.
    mutating func append(_ bytes: some Sequence<UInt8>) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                lines += end()
            } else if rest.count < limit {
                rest.append(byte)
            }
        }
        return lines
    }

    /// What is left when nothing more comes.
    mutating func end() -> [String] {
        defer { rest = [] }
        let text = String(decoding: rest, as: UTF8.self).unicodeScalars
            .map { $0.value < 32 && $0 != "\t" && $0 != "\u{1B}" || $0.value == 127 ? " " : Character($0) }
        return text.allSatisfy(\.isWhitespace) ? [] : [String(text)]
    }
}
