/// What `doctor` found out.
struct DoctorReport: Encodable, Sendable {
    /// One requirement.
    struct Check: Encodable, Sendable {
        enum Status: String, Encodable, Sendable {
            /// As it should be.
            case ok
            /// Works, but not all of it or not well.
            case warning
            /// Sandboxes cannot run like this.
            case missing
        }

        var name: String
        var status: Status
        var detail: String
        /// What to do about it.
        var fix: String?

        init(_ name: String, _ status: Status, _ detail: String, fix: String? = nil) {
            self.name = name
            self.status = status
            self.detail = detail
            self.fix = fix
        }
    }

    /// An engine that would run sandboxes here.
    struct Engine: Encodable, Sendable {
        var name: String
        var available = true
        var version: String?
        var accelerator: String?
        var level: String?
        var reason: String
        /// What its sandboxes can do beyond running programs.
        var capabilities: [String] = []
    }

    /// The one that is taken unasked.
    var engine: Engine?
    /// All of them, as far as can be told without a daemon.
    var engines: [Engine] = []
    var checks: [Check]
    var daemonRunning: Bool
    var daemonURL: String?
    var dataDirectory: String
    var log: String

    /// Whether nothing that is required is missing.
    var isHealthy: Bool { !checks.contains { $0.status == .missing } }

    enum CodingKeys: String, CodingKey {
        case engine, engines, checks, log, ok
        case daemonRunning = "daemon_running"
        case daemonURL = "daemon_url"
        case dataDirectory = "data_directory"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(isHealthy, forKey: .ok)
        try container.encodeIfPresent(engine, forKey: .engine)
        try container.encode(engines, forKey: .engines)
        try container.encode(checks, forKey: .checks)
        try container.encode(daemonRunning, forKey: .daemonRunning)
        try container.encodeIfPresent(daemonURL, forKey: .daemonURL)
        try container.encode(dataDirectory, forKey: .dataDirectory)
        try container.encode(log, forKey: .log)
    }

    /// A line per check, what to do below it, and the verdict at the end.
    func text(colour: Bool) -> String {
        let width = checks.map(\.name.count).max() ?? 0
        var lines: [String] = []
        for check in checks {
            let (style, word): (Style, String) =
                switch check.status {
                case .ok: (.green, "ok     ")
                case .warning: (.yellow, "warning")
                case .missing: (.red, "missing")
                }
            let padding = String(repeating: " ", count: width - check.name.count + 2)
            lines.append("\(style.paint(word, on: colour))  \(check.name)\(padding)\(Printable.line(check.detail))")
            if let fix = check.fix {
                lines.append(String(repeating: " ", count: width + 11) + "→ " + Printable.line(fix))
            }
        }
        lines.append("")
        if let engine, let accelerator = engine.accelerator {
            lines.append(
                "Sandboxes run in \(engine.name) by \(accelerator)\(engine.level.map { " (\($0))" } ?? ""): "
                    + Printable.line(engine.reason))
        }
        for other in engines where other.name != engine?.name && other.available {
            let what = other.capabilities.isEmpty ? "" : "; " + other.capabilities.joined(separator: ", ")
            lines.append(
                "Also: \(other.name)\(other.level.map { " (\($0))" } ?? "")\(what): \(Printable.line(other.reason))")
        }
        lines.append(
            isHealthy ? "This machine can run sandboxes." : "This machine cannot run sandboxes yet; see above.")
        return lines.joined(separator: "\n")
    }
}
