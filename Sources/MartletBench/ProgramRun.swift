import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// One program run on the host to its end, and how long it took from just before its start.
struct ProgramRun: Sendable {
    var exitCode: Int32
    var milliseconds: Double

    /// Runs a program. What it prints goes to the end of `log`. Cancelling the task kills it.
    static func run(
        _ program: String, _ arguments: [String], environment: [String] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        log: String
    ) async throws -> ProgramRun {
        let start = Clocks.monotonicNanoseconds
        let child = try await Blocking.run {
            let output = try Descriptor.open(log, O_WRONLY | O_CREAT | O_APPEND)
            return try ChildProcess.spawn(
                SpawnRequest(
                    program: program, arguments: [program] + arguments, environment: environment,
                    descriptors: [nil, output.number, output.number]))
        }
        guard let pidfd = child.pidfd else { throw SystemError("pidfd_open", program, errno: ENOSYS) }
        return try await withTaskCancellationHandler {
            let run = try await Blocking.run {
                _ = clinux_poll_one(pidfd.number, Int16(POLLIN), -1)
                let end = Clocks.monotonicNanoseconds
                var exit = clinux_exit()
                try SystemError.check(clinux_reap(child.pid, &exit), "wait", program)
                return ProgramRun(
                    exitCode: exit.signal == 0 ? exit.code : 128 + exit.signal,
                    milliseconds: Double(end - start) / 1e6)
            }
            try Task.checkCancellation()
            return run
        } onCancel: {
            _ = clinux_pidfd_send_signal(pidfd.number, SIGKILL)
        }
    }

    /// Runs a program that must succeed.
    ///
    /// - Throws: `failed_precondition` with the last line it printed when it does not.
    static func milliseconds(
        _ program: String, _ arguments: [String], environment: [String] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        log: String
    ) async throws -> Double {
        let run = try await run(program, arguments, environment: environment, log: log)
        guard run.exitCode == 0 else {
            let text = String(decoding: (try? AtomicFile.read(log)) ?? [], as: UTF8.self)
            let said = text.split(separator: "\n").last.map { ": \($0)" } ?? ""
            let name = program.split(separator: "/").last ?? ""
            throw MartletError(.failedPrecondition, "\(name): it ended with \(run.exitCode)\(said)")
        }
        return run.milliseconds
    }

    /// The path of an installed program.
    static func find(_ name: String) -> String? {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let folders = path.split(separator: ":") + ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}
