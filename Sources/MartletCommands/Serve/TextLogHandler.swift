import Logging

/// Log lines for people.
struct TextLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel: Logger.Level
    let hasColour: Bool

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        LogLine.write(line(event, time: String(LogLine.time.dropFirst(11).prefix(12))))
    }

    /// `12:30:01.250 info     sandbox created  sandbox.id=s0… duration.ms=12`
    func line(_ event: LogEvent, time: String) -> String {
        let name = event.level.rawValue
        let padding = String(repeating: " ", count: max(0, 8 - name.count))
        let style: Style? =
            switch event.level {
            case .critical, .error: .red
            case .warning: .yellow
            case .notice: .green
            default: nil
            }
        let level = style?.paint(name, on: hasColour) ?? name
        let facts = LogLine.merged(metadata, metadataProvider, event)
            .map { "\($0.key)=\(Self.quoted("\($0.value)"))" }.joined(separator: " ")
        let text = Printable.line("\(event.message)") + (facts.isEmpty ? "" : "  " + Printable.line(facts))
        return "\(Style.dim.paint(time, on: hasColour)) \(level)\(padding) \(text)"
    }

    private static func quoted(_ value: String) -> String {
        value.contains { $0 == " " || $0 == "=" || $0 == "\"" }
            ? "\"" + value.replacing("\"", with: "\\\"") + "\"" : value
    }
}
