/// A program that runs in every sandbox of a template: started before the capture, captured running, and started again
/// whenever it ends.
package struct TemplateService: Sendable, Hashable, Codable {
    /// How to tell that a service does its work.
    package enum Readiness: Sendable, Hashable, Codable {
        /// It listens on a TCP port.
        case port(UInt16)
        /// A file is there.
        case file(String)
        /// A program, run as the service's user, ends with 0.
        case command([String])
    }

    /// What messages call it.
    package var name: String
    /// A list of words, no shell.
    package var command: [String]
    /// Who it runs as; empty is root.
    package var user: String
    /// Empty is the user's home.
    package var workingDirectory: String
    /// `NAME=value` pairs of its own, over those of the template.
    package var environment: [String]
    /// Nil: it counts as ready once it has been started.
    package var readiness: Readiness?
    /// How long it may take to become ready.
    package var readySeconds: Int
    /// nil in what was written before there were any.
    private var once: Bool?

    /// Whether it is not started again when it has ended.
    package var runsOnce: Bool { once ?? false }

    package init(
        name: String, command: [String], user: String = "", workingDirectory: String = "", environment: [String] = [],
        readiness: Readiness? = nil, readySeconds: Int = 60, runsOnce: Bool = false
    ) {
        self.name = name
        self.command = command
        self.user = user
        self.workingDirectory = workingDirectory
        self.environment = environment
        self.readiness = readiness
        self.readySeconds = readySeconds
        once = runsOnce ? true : nil
    }

    /// All of it as texts, for content addresses.
    package var digestInput: [String] {
        let ready: [String] =
            switch readiness {
            case nil: ["-"]
            case .port(let number): ["port", "\(number)"]
            case .file(let path): ["file", path]
            case .command(let words): ["command"] + words
            }
        return [name, user, workingDirectory, "\(readySeconds)", "\(command.count)"] + command
            + ["\(environment.count)"] + environment + ["\(ready.count)"] + ready + (runsOnce ? ["once"] : [])
    }
}
