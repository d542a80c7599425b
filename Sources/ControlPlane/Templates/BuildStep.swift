import SandboxModel

/// One step of a template build, run in the sandbox whose disk becomes the template's.
package enum BuildStep: Sendable, Hashable {
    /// Unpacks an archive that was sent before, and copies what is at `source` in it.
    ///
    /// - Parameters:
    ///   - files: the hash by which the archive was sent.
    ///   - source: within the archive; what follows a component with a wildcard is passed over.
    ///   - target: where to; relative to the working directory. With a slash at its end it is a directory.
    ///   - owner: `user` or `user:group`; empty is who the step runs as.
    ///   - mode: octal permissions; empty leaves those of the archive.
    case copy(files: String, source: String, target: String, owner: String, mode: String)
    /// Runs a line of a shell, as the user of the steps unless it names one.
    case run(command: String, user: String?)
    /// Sets variables for later steps and for all programs of the template. `$NAME` in a value stands for what it was.
    case environment([Variable])
    /// Makes a directory the one that later steps, and programs of the template, begin in.
    case workingDirectory(String)
    /// Makes a user, who is made if need be, the one that later steps, and programs of the template, run as.
    case user(String)

    package struct Variable: Sendable, Hashable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    static let maxTextBytes = 32 << 10

    /// Checks form and bounds.
    ///
    /// - Throws: `invalid_argument` naming the step.
    func check(_ number: Int) throws(MartletError) {
        let field = "steps[\(number)]"
        for text in texts {
            guard text.utf8.count <= BuildStep.maxTextBytes else {
                throw .invalid(field, "has a text of more than \(BuildStep.maxTextBytes) bytes")
            }
            guard !text.utf8.contains(0) else { throw .invalid(field, "holds a NUL byte") }
        }
        switch self {
        case .copy(let files, let source, let target, let owner, let mode):
            guard BuildFiles.isHash(files) else { throw .invalid(field, "filesHash is no SHA-256 in lower-case hex") }
            guard !source.isEmpty, !target.isEmpty else { throw .invalid(field, "names no source or no target") }
            _ = try CommandCheck.userName(owner, field: field)
            if !mode.isEmpty { _ = try Files.mode(mode) }
        case .run(let command, let user):
            guard !command.isEmpty else { throw .invalid(field, "names no command") }
            _ = try CommandCheck.userName(user ?? "", field: field)
        case .environment(let variables):
            guard !variables.isEmpty else { throw .invalid(field, "names no variable") }
            for variable in variables where !EnvironmentCheck.isName(variable.name) {
                throw .invalid(field, "'\(variable.name.printable)' is no name of a variable")
            }
        case .workingDirectory(let path):
            guard !path.isEmpty else { throw .invalid(field, "names no directory") }
        case .user(let name):
            guard !name.isEmpty, !name.contains(":") else { throw .invalid(field, "names no user") }
            _ = try CommandCheck.userName(name, field: field)
        }
    }

    /// All of it as texts.
    var texts: [String] {
        switch self {
        case .copy(let files, let source, let target, let owner, let mode):
            ["COPY", files, source, target, owner, mode]
        case .run(let command, let user): ["RUN", command, user ?? ""]
        case .environment(let variables): ["ENV"] + variables.flatMap { [$0.name, $0.value] }
        case .workingDirectory(let path): ["WORKDIR", path]
        case .user(let name): ["USER", name]
        }
    }

    /// How it is told of in logs. Values of variables may be nobody else's business.
    var sentence: String {
        switch self {
        case .copy(_, let source, let target, _, _): "COPY \(source) \(target)"
        case .run(let command, _): "RUN \(command)"
        case .environment(let variables): "ENV \(variables.map(\.name).joined(separator: " "))"
        case .workingDirectory(let path): "WORKDIR \(path)"
        case .user(let name): "USER \(name)"
        }
    }
}
