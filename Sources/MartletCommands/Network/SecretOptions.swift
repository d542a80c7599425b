import ArgumentParser
import MartletAPI
import SandboxModel

/// The options that give a sandbox secrets. Their values never stand on the command line, where everybody on the machine
/// can read them.
struct SecretOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "NAME=SOURCE@HOST[,HOST...]: programs get a placeholder in NAME, requests to HOST the value.",
            discussion: """
                SOURCE is env:VARIABLE of ours, file:PATH, - for standard input, or daemon:MARTLET_SECRET_X of the \
                daemon's environment. NAME@HOST takes our variable NAME. Repeatable.
                """))
    var secret: [SecretArgument] = []

    @Option(
        name: .long,
        help: "NAME=HEADER or 'NAME=HEADER: FORMAT': set this header, to FORMAT with {value} in it. Repeatable.")
    var secretHeader: [SecretHeaderArgument] = []

    func validate() throws {
        for header in secretHeader {
            guard secret.contains(where: { $0.name == header.name }) else {
                throw ValidationError("--secret-header \(header.name): there is no --secret of that name")
            }
        }
        guard Set(secretHeader.map(\.name)).count == secretHeader.count else {
            throw ValidationError("--secret-header: two of them are for one secret")
        }
        guard secret.count(where: { $0.source == .standardInput }) < 2 else {
            throw ValidationError("--secret: only one can come from standard input")
        }
    }

    /// Whether standard input is used up for a secret.
    var takesStandardInput: Bool { secret.contains { $0.source == .standardInput } }

    /// The secrets with their values; nil when there are none.
    ///
    /// - Throws: `invalid_argument`, `not_found` for one whose value is not there.
    func secrets(from environment: [String: String] = Session.environment) throws -> [SecretRequest]? {
        guard !secret.isEmpty else { return nil }
        return try secret.map { argument in
            let header = secretHeader.first { $0.name == argument.name }
            return SecretRequest(
                name: argument.name, valueFrom: try argument.value(from: environment), hosts: argument.hosts,
                header: header?.header, format: header?.format)
        }
    }
}

/// `NAME=SOURCE@HOST[,HOST...]`.
struct SecretArgument: ExpressibleByArgument, Equatable {
    enum Source: Equatable {
        case variable(String)
        case file(String)
        case standardInput
        /// A variable of the daemon's.
        case daemon(String)
    }

    let name: String
    let source: Source
    let hosts: [HostPattern]

    init?(argument: String) {
        // Hosts have no '@', paths may.
        guard let at = argument.lastIndex(of: "@") else { return nil }
        let hosts = argument[argument.index(after: at)...].split(separator: ",", omittingEmptySubsequences: false)
            .map { HostPattern($0) }
        guard !hosts.isEmpty, hosts.allSatisfy({ $0 != nil }) else { return nil }
        self.hosts = hosts.compactMap(\.self)
        let head = argument[..<at]
        guard let equals = head.firstIndex(of: "=") else {
            name = String(head)
            source = .variable(name)
            if name.isEmpty { return nil }
            return
        }
        name = String(head[..<equals])
        guard !name.isEmpty, let source = Source(head[head.index(after: equals)...]) else { return nil }
        self.source = source
    }

    /// - Throws: `invalid_argument`, `not_found`.
    func value(from environment: [String: String]) throws(MartletError) -> SecretRequest.Source {
        switch source {
        case .daemon(let variable): return SecretRequest.Source(env: variable)
        case .variable(let variable):
            guard let value = environment[variable], !value.isEmpty else {
                throw MartletError(.notFound, "secret \(name): our environment has no variable \(variable)")
            }
            return SecretRequest.Source(value: value)
        case .file(let path): return try read(path)
        case .standardInput: return try read("-")
        }
    }

    /// The end of the last line is an editor's, not the secret's.
    private func read(_ path: String) throws(MartletError) -> SecretRequest.Source {
        var bytes = try InputFile.read(path, limit: 16 << 10)
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard !bytes.isEmpty, let value = String(validating: bytes, as: UTF8.self) else {
            throw MartletError(.invalidArgument, "secret \(name): \(path): it is empty, or no text")
        }
        return SecretRequest.Source(value: value)
    }
}

extension SecretArgument.Source {
    fileprivate init?(_ text: Substring) {
        func rest(_ prefix: String) -> String? {
            guard text.hasPrefix(prefix), text.count > prefix.count else { return nil }
            return String(text.dropFirst(prefix.count))
        }
        if text == "-" {
            self = .standardInput
        } else if let variable = rest("env:") {
            self = .variable(variable)
        } else if let path = rest("file:") {
            self = .file(path)
        } else if let variable = rest("daemon:") {
            self = .daemon(variable)
        } else {
            return nil
        }
    }
}

/// `NAME=HEADER` or `NAME=HEADER: FORMAT`.
struct SecretHeaderArgument: ExpressibleByArgument, Equatable {
    let name: String
    let header: String
    let format: String?

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "=") else { return nil }
        name = String(argument[..<equals])
        let parts = argument[argument.index(after: equals)...].split(
            separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        header = String(parts.first ?? "")
        let format = parts.count == 2 ? parts[1].drop { $0 == " " } : nil
        self.format = format.map(String.init)
        guard !name.isEmpty, !header.isEmpty, format?.isEmpty != true else { return nil }
    }
}
