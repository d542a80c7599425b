import Glibc
import LinuxSystem
import SandboxModel
import Subprocess
import SystemPackage

/// Runs the system's own tools (mmdebstrap, mke2fs, apt-get, dpkg-deb) for one build.
///
/// Each line they print goes to the build's log; a failure quotes the last of them. Cancelling the task ends the
/// tool with its whole process group.
package struct Tool: Sendable {
    /// For messages, for example `build template base`.
    let purpose: String
    let logPath: String
    /// Held (shared) by every tool as long as it or a child of it lives.
    let lockPath: String

    /// A tool for one build; `lockPath` names the lock of the directory it writes in.
    package init(purpose: String, logPath: String, lockPath: String) {
        self.purpose = purpose
        self.logPath = logPath
        self.lockPath = lockPath
    }

    /// Runs a program to its end.
    ///
    /// - Throws: `failed_precondition` if it is not installed, `resource_exhausted` if the disk is full, `internal`
    ///   with its last lines for any other failure.
    package func run(
        _ program: String, _ arguments: [String], directory: String? = nil, environment: [String: String] = [:],
        line: (String) -> Void = { _ in }
    ) async throws {
        let log = try Descriptor.open(logPath, O_WRONLY | O_CREAT | O_APPEND)
        try log.writeAll(Array("\n# \(program) \(arguments.joined(separator: " "))\n".utf8))
        var tail: [String] = []
        let status = try await start(program, arguments, directory, environment) { text in
            try log.writeAll(Array((text + "\n").utf8))
            tail.append(text)
            if tail.count > 40 { tail.removeFirst() }
            line(text)
        }
        guard !status.isSuccess else { return }
        try Task.checkCancellation()
        throw failure(program, status, tail)
    }

    /// Runs a program and returns the lines it printed.
    package func lines(_ program: String, _ arguments: [String]) async throws -> [String] {
        var lines: [String] = []
        try await run(program, arguments) { lines.append($0) }
        return lines
    }

    private func start(
        _ program: String, _ arguments: [String], _ directory: String?, _ environment: [String: String],
        _ line: (String) throws -> Void
    ) async throws -> TerminationStatus {
        guard let path = Self.find(program) else {
            throw MartletError(
                .failedPrecondition, "\(purpose): \(program) is not installed: run scripts/install-dependencies")
        }
        guard let flock = Self.find("flock") else {
            throw MartletError(
                .failedPrecondition, "\(purpose): flock (package util-linux) is not installed")
        }
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(5)),
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .seconds(1)),
        ]
        var variables: [Subprocess.Environment.Key: String?] = [
            "PATH": Self.searchPath.joined(separator: ":"), "LC_ALL": "C.UTF-8", "LANGUAGE": nil, "TMPDIR": nil,
            "DEBIAN_FRONTEND": "noninteractive",
        ]
        for (name, value) in environment { variables[.init(stringLiteral: name)] = value }
        let configuration = Configuration(
            executable: .path(FilePath(flock)),
            arguments: Arguments(["--shared", "--no-fork", lockPath, path] + arguments),
            environment: .inherit.updating(variables), workingDirectory: directory.map { FilePath($0) },
            platformOptions: options)
        let result = try await Subprocess.run(
            configuration, input: .none, output: .sequence, error: .combinedWithOutput
        ) { execution in
            for try await text in execution.standardOutput.strings() where !text.isEmpty { try line(text) }
        }
        return result.terminationStatus
    }

    private func failure(_ program: String, _ status: TerminationStatus, _ tail: [String]) -> MartletError {
        if tail.contains(where: { $0.contains("No space left on device") }) {
            return MartletError(.resourceExhausted, "\(purpose): \(program): no space left on the disk of the images")
        }
        let errors = tail.filter { $0.hasPrefix("E:") || $0.contains("rror") || $0.contains("ailed") }
        let reason = (errors.isEmpty ? tail : errors).suffix(3).joined(separator: "; ")
        return MartletError(.internal, "\(purpose): \(program) \(status): \(reason): full log in \(logPath)")
    }

    private static let searchPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

    private static func find(_ program: String) -> String? {
        searchPath.map { $0 + "/" + program }.first { access($0, X_OK) == 0 }
    }
}
