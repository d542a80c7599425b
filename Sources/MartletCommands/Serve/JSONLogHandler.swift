import Logging

/// Log lines for programs: one JSON object each.
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel: Logger.Level
    let label: String

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { LogLine.write(line(event, time: LogLine.time)) }

    /// `{"time":…,"level":…,"logger":…,"message":…}` and the metadata beside them, in that order.
    func line(_ event: LogEvent, time: String) -> String {
        var fields = [
            ("time", time), ("level", event.level.rawValue), ("logger", label), ("message", "\(event.message)"),
        ]
        let taken = Set(fields.map(\.0))
        for (key, value) in LogLine.merged(metadata, metadataProvider, event) {
            fields.append((taken.contains(key) ? "metadata.\(key)" : key, "\(value)"))
        }
        return "{" + fields.map { "\(Self.string($0)):\(Self.string($1))" }.joined(separator: ",") + "}"
    }

    /// A JSON string: everything but printable characters escaped, so that a line stays a line.
    static func string(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            default:
                if scalar.value < 32 || (127..<160).contains(scalar.value) {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
