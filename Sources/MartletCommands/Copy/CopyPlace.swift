import SandboxModel

/// One end of a copy.
enum CopyPlace: Equatable {
    /// Standard input or output.
    case stream
    /// A path on this machine.
    case host(String)
    /// An absolute path in a sandbox.
    case sandbox(id: String, path: String)

    /// Reads `-`, a path, or `ID:/path`. A colon behind a slash belongs to a path, so `./a:b` is a file.
    init(parsing text: String) throws(MartletError) {
        if text == "-" {
            self = .stream
            return
        }
        guard let colon = text.firstIndex(of: ":"), colon > text.startIndex, !text[..<colon].contains("/"),
            text[..<colon] != "."
        else {
            guard !text.isEmpty else { throw .invalid("path", "it is empty") }
            self = .host(text)
            return
        }
        let path = String(text[text.index(after: colon)...])
        guard !path.utf8.contains(0) else { throw .invalid("path", "it holds a zero byte") }
        self = .sandbox(id: String(text[..<colon]), path: path.hasPrefix("/") ? path : "/" + path)
    }

    /// The last component of a path; empty for the root.
    static func name(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? "" }

    /// A path one level down.
    static func join(_ path: String, _ name: String) -> String { path.hasSuffix("/") ? path + name : path + "/" + name }
}
