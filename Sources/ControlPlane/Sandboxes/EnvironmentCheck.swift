import SandboxModel

/// Bounds and form of environment variables that a client gives.
enum EnvironmentCheck {
    static let maxCount = 512
    static let maxBytes = 32 << 10

    /// `NAME=value` pairs, in the order of their names.
    ///
    /// - Throws: `invalid_argument` naming the variable.
    static func pairs(_ variables: [String: String], field: String) throws(MartletError) -> [String] {
        guard variables.count <= maxCount else { throw .invalid(field, "holds more than \(maxCount) variables") }
        var bytes = 0
        var pairs: [String] = []
        for (name, value) in variables.sorted(by: { $0.key < $1.key }) {
            guard isName(name) else {
                throw .invalid(
                    field, "'\(name.printable)' is no name: letters, digits and _, no digit first, up to 255")
            }
            guard !value.utf8.contains(0) else { throw .invalid("\(field).\(name)", "holds a NUL byte") }
            let pair = "\(name)=\(value)"
            bytes += pair.utf8.count
            pairs.append(pair)
        }
        guard bytes <= maxBytes else { throw .invalid(field, "is larger than \(maxBytes) bytes in all") }
        return pairs
    }

    static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= 255, !first.isDigit else { return false }
        return name.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == UInt8(ascii: "_") }
    }
}

extension UInt8 {
    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
    var isLetter: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20)
    }
}

extension String {
    /// The text as it may go into a message: short, without control characters.
    var printable: String { printable(100) }

    /// The text without control characters, up to so many.
    func printable(_ limit: Int) -> String {
        let scalars = unicodeScalars.prefix(limit).map { $0.value < 32 || $0.value == 127 ? "?" : Character($0) }
        return String(scalars)
    }
}
