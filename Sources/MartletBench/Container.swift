import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel

/// gVisor on a copy of the template's root, as a user would run it by hand.
struct Container: Sendable {
    private let program: String
    private let platform: String
    private let directory: String
    private static let name = "baseline"
    private static let idle = ["/bin/sleep", "1000000"]

    /// Unpacks the root image into `directory` and finds the platform that works here.
    ///
    /// - Throws: `failed_precondition` saying what is missing.
    static func prepare(root image: String, in directory: String) async throws -> Container {
        guard let program = ProgramRun.find("runsc") else {
            throw MartletError(.failedPrecondition, "runsc is not installed")
        }
        guard let reader = ProgramRun.find("debugfs") else {
            throw MartletError(.failedPrecondition, "debugfs (package e2fsprogs) is not installed: no root for runsc")
        }
        for name in ["root", "state", "bundle"] {
            guard mkdir("\(directory)/\(name)", 0o755) == 0 else { throw SystemError("mkdir", name, errno: errno) }
        }
        // Reads the image without mounting it.
        _ = try await ProgramRun.milliseconds(
            reader, ["-R", "rdump / \"\(directory)/root\"", image], log: "\(directory)/debugfs.log")
        var problem: any Error = MartletError(.failedPrecondition, "runsc: no platform was tried")
        for platform in ["systrap", "ptrace"] {
            let container = Container(program: program, platform: platform, directory: directory)
            do {
                _ = try await container.run(["/bin/true"])
                return container
            } catch let error as MartletError {
                problem = error
            }
        }
        throw problem
    }

    /// What it is, for the report.
    var summary: String { "runsc \(flags.suffix(3).joined(separator: " "))" }

    private var flags: [String] {
        ["--root", "\(directory)/state", "--ignore-cgroups", "--network=none", "--platform=\(platform)"]
    }

    /// The copy of the template's root.
    var root: String { "\(directory)/root" }
    var log: String { "\(directory)/runsc.log" }

    /// Milliseconds of `runsc run`: a container made, one program run, the container removed.
    func run(_ arguments: [String]) async throws -> Double {
        try writeBundle(arguments)
        do {
            return try await ProgramRun.milliseconds(
                program, flags + ["run", "--bundle", "\(directory)/bundle", Container.name], log: log)
        } catch {
            try? await remove()
            throw error
        }
    }

    /// Hands `body` a way to time `runsc exec` in a container that runs; removes it however `body` ends.
    func running(_ body: (_ exec: ([String]) async throws -> Double) async throws -> Void) async throws {
        try writeBundle(Self.idle)
        _ = try await ProgramRun.milliseconds(
            program, flags + ["create", "--bundle", "\(directory)/bundle", Container.name], log: log)
        do {
            _ = try await ProgramRun.milliseconds(program, flags + ["start", Container.name], log: log)
            try await body { arguments in
                try await ProgramRun.milliseconds(program, flags + ["exec", Container.name] + arguments, log: log)
            }
        } catch {
            try? await remove()
            throw error
        }
        try await remove()
    }

    /// What one checkpoint and one restore took.
    struct Checkpoint: Sendable {
        var checkpoint: Double
        var restore: Double
        /// Of `runsc exec` of `/bin/true`, right after the restore.
        var firstExec: Double
        var bytes: UInt64
    }

    /// Lets a container run a program, stores it, which ends it, and brings it back; removes it however that ends.
    func checkpoint(after program: [String]) async throws -> Checkpoint {
        let image = "\(directory)/image"
        guard mkdir(image, 0o700) == 0 else { throw SystemError("mkdir", image, errno: errno) }
        defer { try? FileManager.default.removeItem(atPath: image) }
        var (stored, bytes) = (0.0, UInt64(0))
        try await running { exec in
            _ = try await exec(program)
            stored = try await ProgramRun.milliseconds(
                self.program, flags + ["checkpoint", "--image-path", image, Container.name], log: log)
            bytes = try await Blocking.run { ProcessFacts.files(below: image).bytes }
        }
        do {
            let restore = try await ProgramRun.milliseconds(
                self.program,
                flags + [
                    "restore", "--detach", "--bundle", "\(directory)/bundle", "--image-path", image, Container.name,
                ],
                log: log)
            let firstExec = try await ProgramRun.milliseconds(
                self.program, flags + ["exec", Container.name] + ExecBenchmark.true, log: log)
            try await remove()
            return Checkpoint(checkpoint: stored, restore: restore, firstExec: firstExec, bytes: bytes)
        } catch {
            try? await remove()
            throw error
        }
    }

    private func remove() async throws {
        // A task of its own: after an interruption nothing else would be started any more.
        try await Task.detached {
            _ = try await ProgramRun.milliseconds(
                program, flags + ["delete", "--force", Container.name], log: log)
        }.value
    }

    // MARK: The bundle

    private func writeBundle(_ arguments: [String]) throws {
        let bundle = Bundle(
            process: .init(args: arguments), root: .init(path: "\(directory)/root"))
        try AtomicFile.write(
            Array(JSONEncoder().encode(bundle)), to: "\(directory)/bundle/config.json", durable: false)
    }

    /// The part of the OCI runtime specification that is needed.
    private struct Bundle: Encodable {
        struct Process: Encodable {
            struct User: Encodable { var (uid, gid) = (0, 0) }
            var args: [String]
            var env = ["PATH=/usr/local/bin:/usr/bin:/bin"]
            var cwd = "/"
            var terminal = false
            var noNewPrivileges = true
            var user = User()
        }
        struct Root: Encodable {
            var path: String
            var readonly = true
        }
        struct Mount: Encodable {
            var destination: String
            var type: String
            var source: String
        }
        struct Linux: Encodable {
            struct Namespace: Encodable { var type: String }
            var namespaces = ["pid", "mount", "ipc", "uts", "network"].map(Namespace.init)
        }
        var ociVersion = "1.0.2"
        var process: Process
        var root: Root
        var hostname = "baseline"
        var mounts = [
            Mount(destination: "/proc", type: "proc", source: "proc"),
            Mount(destination: "/tmp", type: "tmpfs", source: "tmpfs"),
        ]
        var linux = Linux()
    }
}
