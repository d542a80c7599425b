import GuestClient
import GuestProtocol
import LinuxSystem
import NIOPosix
import SandboxModel

/// Runs the steps of a template build in a guest, one after another. Everything the client has written is run, looked up
/// and unpacked there; the host hands it over word by word.
struct StepRunner: Sendable {
    /// What steps leave for later ones, and for the template.
    struct Context: Sendable, Equatable {
        var user: String
        /// nil: the user's home.
        var workingDirectory: String?
        var environment: [String: String] = [:]

        /// `NAME=value` pairs.
        ///
        /// - Throws: `invalid_argument` when they are too many or too large.
        var pairs: [String] {
            get throws(MartletError) { try EnvironmentCheck.pairs(environment, field: "ENV") }
        }
    }

    private static let root = "root"
    /// Bytes of a line of output that are told.
    private static let maxLine = 2000

    let guest: GuestConnection
    let files: BuildFiles
    let owner: String?
    /// Told each line that a program prints.
    let tell: @Sendable (String) -> Void
    private(set) var context: Context

    init(
        guest: GuestConnection, files: BuildFiles, owner: String?, context: Context,
        tell: @escaping @Sendable (String) -> Void
    ) {
        self.guest = guest
        self.files = files
        self.owner = owner
        self.context = context
        self.tell = tell
    }

    /// Runs one step.
    ///
    /// - Throws: `failed_precondition` when a program of it fails, and what the guest throws.
    mutating func run(_ step: BuildStep) async throws {
        switch step {
        case .copy(let hash, let source, let target, let owner, let mode):
            try await copy(hash, from: source, to: target, owner: owner, mode: mode)
        case .run(let command, let user):
            try await shell(command, user: user ?? context.user)
        case .environment(let variables):
            for variable in variables { context.environment[variable.name] = try await value(of: variable) }
            _ = try context.pairs
        case .workingDirectory(let path):
            context.workingDirectory = try await makeDirectory(path)
        case .user(let name):
            try await makeUser(name)
            context.user = name
        }
    }

    private func shell(_ command: String, user: String) async throws {
        let code = try await start(
            ["/bin/bash", "-l", "-c", command], user: user, directory: context.workingDirectory ?? "")
        guard code == 0 else {
            throw MartletError(
                .failedPrecondition, "failed to run command '\(command.printable(200))': exit status \(code)",
                details: ["exit_code": "\(code)"])
        }
    }

    /// As a shell reads it between double quotes: that is what writers of Dockerfiles mean.
    private func value(of variable: BuildStep.Variable) async throws -> String {
        guard variable.value.contains("$") || variable.value.contains("\\") || variable.value.contains("`") else {
            return variable.value
        }
        var quoted = ""
        for character in variable.value {
            // One that its writer has not quoted stands for itself.
            if character == "\"", quoted.last != "\\" { quoted.append("\\") }
            quoted.append(character)
        }
        let printed = PrintedText()
        let code = try await start(
            ["/bin/bash", "-c", "printf %s \"\(quoted)\""], user: StepRunner.root, directory: "/",
            output: { printed.append($0) })
        guard code == 0 else {
            throw MartletError(.failedPrecondition, "ENV \(variable.name): its value cannot be read as a shell's text")
        }
        return printed.text
    }

    private func makeDirectory(_ path: String) async throws -> String {
        let base = try await directory
        let whole = try GuestPath.checked(path.hasPrefix("/") ? path : base + "/" + path, field: "WORKDIR")
        let script = "[ -d \"$1\" ] || { mkdir -p -- \"$1\" && chown \"$2:\" \"$1\"; }"
        let code = try await start(
            ["/bin/sh", "-c", script, "sh", whole, context.user], user: StepRunner.root, directory: "/")
        guard code == 0 else { throw MartletError(.failedPrecondition, "WORKDIR \(whole): it could not be made") }
        return whole
    }

    private func makeUser(_ name: String) async throws {
        let script = "id -u -- \"$1\" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash -- \"$1\""
        let code = try await start(["/bin/sh", "-c", script, "sh", name], user: StepRunner.root, directory: "/")
        guard code == 0 else { throw MartletError(.failedPrecondition, "USER \(name): the user could not be made") }
    }

    /// The working directory as it is now.
    private var directory: String {
        get async throws {
            if let directory = context.workingDirectory { return directory }
            let printed = PrintedText()
            _ = try await start(
                ["/bin/sh", "-c", "printf %s \"$HOME\""], user: context.user, directory: "",
                output: { printed.append($0) })
            return printed.text.hasPrefix("/") ? printed.text : "/"
        }
    }

    // MARK: COPY

    /// Arguments: archive's form, source, target, owner, mode. A directory that is there keeps its own owner and mode.
    private static let copyScript = """
        set -eu
        work=$(mktemp -d /var/tmp/martlet-copy.XXXXXXXXXX)
        trap 'rm -rf "$work"' EXIT
        tar --extract $1 --file=- --no-same-owner --directory="$work"
        from=$work/$2 to=$3
        if [ -d "$from" ] && [ ! -L "$from" ]; then
            chown -R "$4" "$from"
            [ -z "$5" ] || chmod -R "$5" "$from"
            mkdir -p -- "$to"
            find "$from" -mindepth 1 -maxdepth 1 -exec cp -a -t "$to" -- {} +
        else
            chown -h "$4" "$from"
            [ -z "$5" ] || [ -L "$from" ] || chmod "$5" "$from"
            case $to in
            */) mkdir -p -- "$to" ;;
            *) mkdir -p -- "$(dirname -- "$to")" ;;
            esac
            cp -a -- "$from" "$to"
        fi
        """

    private func copy(
        _ hash: String, from source: String, to target: String, owner: String, mode: String
    ) async throws {
        let base = try await directory
        let place = target.hasPrefix("/") ? target : base + "/" + target
        let who = owner.isEmpty ? context.user : owner
        let archive = try files.open(hash, owner: self.owner)
        let head = try await NIOThreadPool.singleton.runIfActive { try archive.read(upTo: 2) }
        let form = head == BuildFiles.gzip ? "--gzip" : "--no-auto-compress"
        let words = [
            "/bin/sh", "-c", StepRunner.copyScript, "sh", form, StepRunner.withoutWildcards(source), place,
            who.contains(":") ? who : who + ":", mode,
        ]
        let code = try await start(words, user: StepRunner.root, directory: "/", input: (head, archive))
        guard code == 0 else {
            throw MartletError(
                .failedPrecondition, "failed to copy '\(source.printable(200))' to '\(target.printable(200))'",
                details: ["exit_code": "\(code)"])
        }
    }

    /// What stands before the first component with a wildcard: the client has chosen by it already.
    static func withoutWildcards(_ source: String) -> String {
        let parts = source.split(separator: "/").prefix { part in !part.contains { "*?[{\\".contains($0) } }
        return parts.isEmpty ? "." : parts.joined(separator: "/")
    }

    // MARK: Programs

    /// Runs a program to its end; what it prints is told line by line.
    ///
    /// - Parameter input: what it reads: bytes, then a file from where it stands.
    /// - Returns: its exit code; 128 and the signal when one has ended it.
    private func start(
        _ words: [String], user: String, directory: String, input: (head: [UInt8], rest: Descriptor)? = nil,
        output: ((ArraySlice<UInt8>) -> Void)? = nil
    ) async throws -> Int32 {
        let process = try await guest.start(
            StartProcess(
                arguments: words, environment: try context.pairs, workingDirectory: directory, user: user,
                takesInput: input != nil))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            if let input {
                group.addTask {
                    // A program that ends without reading all of it says so by its code.
                    try? await StepRunner.feed(process, input.head, input.rest)
                    process.stream.finish()
                }
            }
            defer { group.cancelAll() }
            var lines = LineSplitter(limit: StepRunner.maxLine)
            while let element = try await process.next() {
                switch element {
                case .output(let channel, _, let bytes):
                    if let output, channel == .standardOutput {
                        output(bytes)
                    } else {
                        lines.append(bytes).forEach(tell)
                    }
                case .exit(let exit):
                    lines.end().forEach(tell)
                    try? await guest.forget(process.pid)
                    return exit.signal > 0 ? 128 + exit.signal : exit.code
                }
            }
            throw MartletError(.unavailable, "guest: the process's stream ended without its exit")
        }
    }

    private static func feed(_ process: GuestProcess, _ head: [UInt8], _ rest: Descriptor) async throws {
        try await process.stream.send(head)
        while true {
            let piece = try await NIOThreadPool.singleton.runIfActive { try rest.read(upTo: 256 << 10) }
            if piece.isEmpty { return }
            try await process.stream.send(piece)
        }
    }
}

/// The end of what a program prints on its output, bounded.
private final class PrintedText {
    private static let maxBytes = 32 << 10
    private var bytes: [UInt8] = []

    func append(_ more: ArraySlice<UInt8>) { bytes += more.prefix(max(0, PrintedText.maxBytes - bytes.count)) }
    var text: String { String(decoding: bytes.filter { $0 != 0 }, as: UTF8.self) }
}
