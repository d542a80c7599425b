import Glibc

/// Colour, on a terminal and where the user has not said otherwise (https://no-color.org).
enum Style: String {
    case green = "32"
    case yellow = "33"
    case red = "31"
    case dim = "2"
    case bold = "1"

    /// Whether colour goes to standard output.
    static let isOnForOutput = isOn(terminal: Console.outputIsTerminal)
    /// Whether colour goes to standard error.
    static let isOnForError = isOn(terminal: Console.errorIsTerminal)

    /// Paints text if `on`.
    func paint(_ text: String, on: Bool) -> String { on ? "\u{1B}[\(rawValue)m\(text)\u{1B}[0m" : text }

    private static func isOn(terminal: Bool) -> Bool {
        let refusal = getenv("NO_COLOR").map { String(cString: $0) } ?? ""
        let kind = getenv("TERM").map { String(cString: $0) } ?? ""
        return terminal && refusal.isEmpty && kind != "dumb"
    }
}
