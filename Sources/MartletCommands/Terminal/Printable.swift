/// Text from elsewhere made safe for the user's terminal: no control character gets through.
enum Printable {
    /// One line: control characters, line ends too, become visible.
    static func line(_ text: String) -> String { escape(text, keepsLines: false) }

    /// Lines: as `line`, but line ends and tabs stay.
    static func lines(_ text: String) -> String { escape(text, keepsLines: true) }

    private static func escape(_ text: String, keepsLines: Bool) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if !isControl(scalar) || (keepsLines && (scalar == "\n" || scalar == "\t")) {
                result.unicodeScalars.append(scalar)
            } else {
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + (digits.count < 2 ? "0" : "") + digits
            }
        }
        return result
    }

    /// C0, DEL and C1, and what turns the direction of text around and so can hide what is said.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<32, 127..<160, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
