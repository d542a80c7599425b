import SandboxModel

/// A runtime's command line as podman, conmon and containerd write it: global flags, a verb, its flags, an id.
struct RuntimeOptions: Sendable {
    /// Where the state of containers is kept.
    var root = "/run/martlet-oci"
    /// The daemon's data directory; nil is what the environment says.
    var data: String?
    /// A file that errors are also written to.
    var log: String?
    var logIsJSON = false
    var verb = ""
    var bundle: String?
    var pidFile: String?
    var consoleSocket: String?
    var force = false
    var all = false
    /// What is no flag: the id, and a signal.
    var words: [String] = []

    private static let verbs: Set<String> = [
        "create", "start", "state", "kill", "delete", "version", "help", Shim.verb,
    ]
    private static let withValue: Set<String> = [
        "root", "data", "log", "log-format", "bundle", "pid-file", "console-socket", "preserve-fds",
    ]
    private static let ignored: Set<String> = [
        "debug", "systemd-cgroup", "no-pivot", "no-new-keyring", "preserve-fds", "log-format",
    ]

    /// - Throws: `invalid_argument` for a flag that is not known or lacks its value.
    init(_ arguments: [String]) throws(MartletError) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard word.hasPrefix("-"), word != "-" else {
                guard verb.isEmpty else {
                    words.append(word)
                    continue
                }
                // Before its flags, which only who knows the verb knows.
                guard Self.verbs.contains(word) else {
                    throw MartletError(
                        .unsupported, "\(word.prefix(32)): martlet-oci has no such verb; --help lists them")
                }
                verb = word
                continue
            }
            let (name, value) = try Self.split(word, &rest)
            try take(name, value)
        }
        for (field, path) in [("--root", root), ("--data", data ?? "/"), ("--log", log ?? "/")] {
            guard path.hasPrefix("/"), !path.utf8.contains(0) else { throw .invalid(field, "is no absolute path") }
        }
    }

    private static func split(
        _ word: String, _ rest: inout ArraySlice<String>
    ) throws(MartletError) -> (name: String, value: String) {
        let bare = word.hasPrefix("--") ? word.dropFirst(2) : word.dropFirst()
        if let equals = bare.firstIndex(of: "=") {
            return (long(String(bare[..<equals])), String(bare[bare.index(after: equals)...]))
        }
        let name = long(String(bare))
        guard withValue.contains(name) else { return (name, "true") }
        guard let value = rest.popFirst() else { throw .invalid("--\(name)", "lacks its value") }
        return (name, value)
    }

    private static func long(_ name: String) -> String {
        ["b": "bundle", "f": "force", "a": "all", "v": "version", "h": "help"][name] ?? name
    }

    private mutating func take(_ name: String, _ value: String) throws(MartletError) {
        switch name {
        case "root": root = value
        case "data": data = value
        case "log": log = value
        case "bundle": bundle = value
        case "pid-file": pidFile = value
        case "console-socket": consoleSocket = value
        case "force": force = value == "true"
        case "all": all = value == "true"
        case "version", "help": verb = name
        case "log-format": logIsJSON = value == "json"
        case _ where Self.ignored.contains(name): break
        default: throw .invalid("--\(name)", "is not known")
        }
    }

    /// The one container a verb is about.
    ///
    /// - Throws: `invalid_argument` when it is missing or no id: ids become file names.
    func container() throws(MartletError) -> String {
        guard let id = words.first else { throw .invalid("container id", "is missing") }
        let isPlain = id.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || [43, 45, 46, 95].contains(byte)
        }
        guard (1...128).contains(id.utf8.count), isPlain, !id.hasPrefix("."), !id.hasPrefix("-") else {
            throw .invalid("container id", "'\(id.prefix(64))' is none: letters, digits, '_', '+', '-', '.'")
        }
        return id
    }
}
