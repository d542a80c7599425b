import Glibc

/// Where the parts of Martlet are that do not belong to the user's data.
struct Installation: Sendable {
    /// The running program, links followed.
    let executable: String
    /// The folder that holds `templates/`; nil when no folder above the program does.
    let root: String?
    /// Template definitions.
    let templates: String
    /// The static agent that runs inside sandboxes.
    let guestAgent: String
    /// The static program that shuts sandboxes' processes in.
    let jailer: String

    /// Finds the parts; `MARTLET_TEMPLATES`, `MARTLET_GUEST_AGENT` and `MARTLET_JAILER` come first.
    init(environment: [String: String], executable: String = Installation.runningExecutable) {
        self.executable = executable
        root = Self.root(above: executable)
        let base = root ?? "/usr/local/share/martlet"
        templates = Self.absolute(environment["MARTLET_TEMPLATES"]) ?? base + "/templates"
        guestAgent = Self.absolute(environment["MARTLET_GUEST_AGENT"]) ?? base + "/libexec/martlet-guest"
        jailer = Self.absolute(environment["MARTLET_JAILER"]) ?? base + "/libexec/martlet-jailer"
    }

    /// The nearest folder above the program with a folder `templates` in it.
    private static func root(above executable: String) -> String? {
        var folder = executable
        while let slash = folder.lastIndex(of: "/") {
            folder = String(folder[..<slash])
            var facts = stat()
            if stat(folder + "/templates", &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR { return folder }
        }
        return nil
    }

    private static func absolute(_ path: String?) -> String? {
        guard let path, !path.isEmpty else { return nil }
        guard !path.hasPrefix("/"), let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        return String(cString: here) + "/" + path
    }

    /// The program's file, links followed.
    static var runningExecutable: String {
        guard let path = realpath("/proc/self/exe", nil) else { return CommandLine.arguments.first ?? "martlet" }
        defer { free(path) }
        return String(cString: path)
    }
}
