import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Turns a request into what the kernel needs to start a program: account, environment, directory, file.
struct ProcessLauncher {
    static let standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// A script without a first line that names its interpreter is given to this, as every shell does.
    private static let scriptShell = "/bin/sh"

    let users: Users
    /// Environment the host gave the whole sandbox.
    var sandboxEnvironment: [String]
    /// Who programs run as that do not ask otherwise; empty is root.
    var defaultUser = ""
    var maxOpenFiles: Int64?

    /// A request made whole.
    struct Plan {
        var spawn: SpawnRequest
        var workingDirectory: String
        var user: String
    }

    func plan(_ request: StartProcess) throws(GuestFailure) -> Plan {
        guard let command = request.arguments.first, !command.isEmpty else {
            throw GuestFailure(.invalidArgument, "the command is empty")
        }
        for text in request.arguments + request.environment + [request.workingDirectory]
        where text.utf8.contains(0) {
            throw GuestFailure(.invalidArgument, "\(text.prefix(64)): holds a zero byte")
        }
        let account = try users.account(request.user.isEmpty ? defaultUser : request.user)
        let environment = try environment(of: request, account)
        let directory = try directory(of: request, account)
        let program = try find(command, path: environment.path, from: directory)
        var spawn = SpawnRequest(
            program: program, arguments: request.arguments, environment: environment.entries, descriptors: [])
        spawn.directory = directory
        spawn.controllingTerminal = request.terminal != nil
        spawn.maxOpenFiles = maxOpenFiles
        spawn.ignoredSignals = 1 << UInt64(SIGPIPE)
        if account.uid != geteuid() || account.gid != getegid() {
            spawn.identity = .init(uid: account.uid, gid: account.gid, groups: account.groups)
        }
        return Plan(spawn: spawn, workingDirectory: directory, user: account.name)
    }

    /// Starts a planned program.
    func start(_ plan: Plan) throws(GuestFailure) -> ChildProcess {
        do throws(SpawnError) {
            return try ChildProcess.spawn(plan.spawn)
        } catch {
            guard error.stage == .exec, error.errno == ENOEXEC else { throw failure(error, plan) }
        }
        var shell = plan.spawn
        shell.arguments = [ProcessLauncher.scriptShell, shell.program] + shell.arguments.dropFirst()
        shell.program = ProcessLauncher.scriptShell
        do throws(SpawnError) {
            return try ChildProcess.spawn(shell)
        } catch {
            throw failure(error, plan)
        }
    }

    private func failure(_ error: SpawnError, _ plan: Plan) -> GuestFailure {
        let reason = GuestFailure.text(error.errno)
        let command = plan.spawn.arguments.first ?? ""
        switch (error.stage, error.errno) {
        case (_, EAGAIN), (_, ENOMEM), (_, EMFILE), (_, ENFILE):
            return GuestFailure(.limitReached, errno: error.errno, "\(command): \(reason)")
        case (.directory, _):
            return GuestFailure(.invalidArgument, errno: error.errno, "\(plan.workingDirectory): \(reason)")
        case (.exec, E2BIG):
            return GuestFailure(.invalidArgument, errno: error.errno, "\(command): \(reason)")
        case (.exec, ENOENT):
            return GuestFailure(.notExecutable, errno: error.errno, "\(command): its interpreter is not there")
        case (.exec, _):
            return GuestFailure(.notExecutable, errno: error.errno, "\(command): \(reason)")
        default:
            return GuestFailure(.internal, errno: error.errno, "\(command): \(error.stage): \(reason)")
        }
    }

    private func environment(
        of request: StartProcess, _ account: Account
    ) throws(GuestFailure) -> (entries: [String], path: String) {
        var entries = [
            "PATH=" + ProcessLauncher.standardPath, "HOME=" + account.home, "USER=" + account.name,
            "LOGNAME=" + account.name, "SHELL=" + account.shell, "LANG=C.UTF-8",
        ]
        if request.terminal != nil { entries.append("TERM=xterm-256color") }
        var index: [Substring: Int] = [:]
        for (position, entry) in entries.enumerated() { index[entry.prefix { $0 != "=" }] = position }
        for entry in sandboxEnvironment + request.environment {
            let name = entry.prefix { $0 != "=" }
            guard !name.isEmpty, name.utf8.count < entry.utf8.count else {
                throw GuestFailure(.invalidArgument, "environment: \(entry.prefix(64)): not NAME=value")
            }
            if let position = index[name] {
                entries[position] = entry
            } else {
                index[name] = entries.count
                entries.append(entry)
            }
        }
        let path = index["PATH"].map { String(entries[$0].dropFirst(5)) } ?? ProcessLauncher.standardPath
        return (entries, path)
    }

    private func directory(of request: StartProcess, _ account: Account) throws(GuestFailure) -> String {
        var info = stat()
        guard !request.workingDirectory.isEmpty else {
            return stat(account.home, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR ? account.home : "/"
        }
        guard request.workingDirectory.hasPrefix("/") else {
            throw GuestFailure(.invalidArgument, "\(request.workingDirectory): the working directory is not absolute")
        }
        guard stat(request.workingDirectory, &info) == 0 else {
            let code = errno
            throw GuestFailure(
                .invalidArgument, errno: code, "\(request.workingDirectory): \(GuestFailure.text(code))")
        }
        guard info.st_mode & S_IFMT == S_IFDIR else {
            throw GuestFailure(.invalidArgument, errno: ENOTDIR, "\(request.workingDirectory): Not a directory")
        }
        return request.workingDirectory
    }

    /// The file `command` stands for, as a shell finds it.
    private func find(_ command: String, path: String, from directory: String) throws(GuestFailure) -> String {
        if command.contains("/") {
            let whole = command.hasPrefix("/") ? command : directory + "/" + command
            switch kind(whole) {
            case .program: return whole
            case .missing(let code): throw GuestFailure(.commandNotFound, errno: code, "\(command): command not found")
            case .other(let why): throw GuestFailure(.notExecutable, errno: EACCES, "\(command): \(why)")
            }
        }
        var obstacle: String?
        for entry in path.split(separator: ":", omittingEmptySubsequences: false) {
            let base = entry.isEmpty ? directory : entry.hasPrefix("/") ? String(entry) : directory + "/" + entry
            switch kind(base + "/" + command) {
            case .program: return base + "/" + command
            case .missing: continue
            case .other(let why): obstacle = obstacle ?? why
            }
        }
        if let obstacle { throw GuestFailure(.notExecutable, errno: EACCES, "\(command): \(obstacle)") }
        throw GuestFailure(.commandNotFound, errno: ENOENT, "\(command): command not found")
    }

    private enum FileVerdict {
        case program
        case missing(Int32)
        case other(String)
    }

    private func kind(_ path: String) -> FileVerdict {
        var info = stat()
        guard stat(path, &info) == 0 else { return .missing(errno) }
        if info.st_mode & S_IFMT == S_IFDIR { return .other("is a directory") }
        if info.st_mode & S_IFMT != S_IFREG || info.st_mode & 0o111 == 0 { return .other("Permission denied") }
        return .program
    }
}
