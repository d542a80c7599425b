import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// The sandbox a container lives in, as the runtime uses it.
struct ContainerMachine: Sendable {
    let client: MartletClient
    let sandbox: String

    /// For how long a sandbox outlives whoever extends its time: what is killed half-way clears itself away.
    static let leaseSeconds = 300
    private static let directory = GuestSpec.directory

    /// Makes the sandbox and puts the container into it.
    func make(_ plan: ContainerPlan, container: String) async throws {
        _ = try await client.createSandbox(
            CreateSandboxRequest(
                template: plan.template, name: sandbox, timeoutSeconds: Self.leaseSeconds, cpus: plan.cpus,
                memoryMiB: plan.memoryMiB, diskMiB: plan.diskMiB, metadata: ["oci_container": container],
                isolation: "microvm", network: plan.network))
        let tree = try RootStream(plan.root)
        do {
            try await client.upload(sandbox, Self.directory + "/root.tar", tree, mode: 0o600)
        } catch {
            try? tree.finish()
            throw error
        }
        try tree.finish()
        let spec = GuestSpec(plan)
        for (number, path) in spec.files.enumerated() {
            let bytes = try AtomicFile.read(path, limit: GuestSpec.maxFileBytes)
            try await client.upload(sandbox, "\(Self.directory)/files/\(number)", bytes: bytes, mode: 0o600)
        }
        try await client.upload(sandbox, Self.directory + "/spec", bytes: spec.bytes, mode: 0o600)
        try await client.upload(sandbox, Self.directory + "/init", bytes: Array(GuestInit.script.utf8), mode: 0o600)
        let line = """
            set -e; cd \(Self.directory); mkdir rootfs; mkfifo -m 600 ready start
            tar --extract --file=root.tar --numeric-owner --same-permissions --xattrs --xattrs-include='*' -C rootfs
            rm root.tar
            """
        try await run(.shell(line), "unpack the root file system", timeoutSeconds: 600)
    }

    /// Starts the program that sets the container up.
    ///
    /// - Returns: its id for the process calls, and the id of the container's first process in the guest.
    func begin(terminal: TerminalSizeResource?) async throws -> (process: Int32, first: Int32) {
        let process = try await client.startProcess(
            sandbox,
            StartProcessRequest(
                cmd: .arguments(["/usr/bin/perl", Self.directory + "/init", Self.directory]), cwd: "/", user: "root",
                stdin: true, pty: terminal))
        let told = try await readiness(of: process.pid)
        let lines = told.stdout ?? ""
        if let error = lines.firstRange(of: "error ") {
            throw MartletError(.invalidArgument, String(lines[error.upperBound...].prefix(4096)))
        }
        guard lines.hasSuffix("ready\n"), let first = lines.firstMatch(of: /pid (\d+)\n/).flatMap({ Int32($0.1) })
        else {
            throw MartletError(.internal, "the container could not be set up in its machine: \(told.stderr ?? lines)")
        }
        return (process.pid, first)
    }

    /// What the program that sets the container up says; its death without a word is one too.
    private func readiness(of process: Int32) async throws -> ExecResult {
        try await withThrowingTaskGroup(of: ExecResult?.self) { group in
            group.addTask {
                try await client.exec(
                    sandbox,
                    ExecRequest(cmd: .arguments(["cat", Self.directory + "/ready"]), user: "root", timeoutSeconds: 120))
            }
            group.addTask {
                for try await event in client.processEvents(sandbox, process) {
                    guard case .exit(let exit) = event else { continue }
                    // If it never opened the pipe its reader still waits.
                    let line = "echo 'error its first process ended with \(exit.exitCode)' > \(Self.directory)/ready"
                    _ = try await client.exec(
                        sandbox, ExecRequest(cmd: .shell(line), user: "root", timeoutSeconds: 5))
                }
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    /// Lets the container's program run.
    func start() async throws {
        try await run(.shell("echo go > \(Self.directory)/start"), "start the program", timeoutSeconds: 30)
    }

    /// Sends a signal to the container's first process, as the kernel of a host would.
    func signal(_ number: Int32, to first: Int32) async throws {
        let words = ["/bin/sh", "-c", "kill -\"$1\" \"$2\"", "kill", "\(number)", "\(first)"]
        try await run(.arguments(words), "send signal \(number)", timeoutSeconds: 30)
    }

    /// Gives the sandbox more time.
    func extendLease() async throws {
        _ = try await client.updateSandbox(sandbox, UpdateSandboxRequest(timeoutSeconds: Self.leaseSeconds))
    }

    /// Deletes the sandbox; none being there is no error.
    func delete() async throws {
        do {
            try await client.deleteSandbox(sandbox)
        } catch let error as MartletError where error.code == .notFound {}
    }

    private func run(_ command: Command, _ what: String, timeoutSeconds: Double) async throws {
        let result = try await client.exec(
            sandbox, ExecRequest(cmd: command, user: "root", timeoutSeconds: timeoutSeconds))
        guard result.exitCode == 0, !result.timedOut else {
            let why = result.timedOut ? "it took too long" : (result.stderr ?? "").prefix(1024)
            throw MartletError(.failedPrecondition, "\(what): \(why)")
        }
    }
}
