import Glibc

/// The directory a daemon keeps everything in, and the names of what clients look for there.
public struct DataDirectory: Sendable, Hashable {
    /// Its absolute path.
    public let path: String

    /// Takes a path; a relative one counts from the current directory.
    public init(path: String) {
        var whole = path
        if !path.hasPrefix("/"), let here = getcwd(nil, 0) {
            whole = String(cString: here) + "/" + path
            free(here)
        }
        while whole.count > 1, whole.hasSuffix("/") { whole.removeLast() }
        self.path = whole
    }

    /// What `MARTLET_DATA` says; else `/var/lib/martlet` for root and `~/.local/share/martlet` for others.
    public init(environment: [String: String]) {
        if let given = environment["MARTLET_DATA"], !given.isEmpty {
            self.init(path: given)
        } else if geteuid() == 0 {
            self.init(path: "/var/lib/martlet")
        } else if let share = environment["XDG_DATA_HOME"], share.hasPrefix("/") {
            self.init(path: share + "/martlet")
        } else {
            self.init(path: (environment["HOME"] ?? "/tmp") + "/.local/share/martlet")
        }
    }

    /// The unix socket that serves the API to the user who started the daemon.
    public var socket: String { path + "/api.sock" }
    /// The API key made at the first start, readable by that user only.
    public var keyFile: String { path + "/api-key" }
    /// Where archives for template builds are kept.
    public var uploads: String { path + "/uploads" }
    /// What the tokens of single sandboxes are made with.
    public var accessKeyFile: String { path + "/access-key" }
}
