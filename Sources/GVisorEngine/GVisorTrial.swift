import CLinux
import FoundationEssentials
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel

/// Finds out whether this `runsc` can capture a container and go on from that: a program that repeats what it is told is
/// halted, saved and let go on, and then goes on from what was saved in a second container.
struct GVisorTrial {
    let program: String
    let platform: String
    let directory: String

    private static let patienceMilliseconds: Int32 = 20_000

    /// - Returns: what went wrong; nil when nothing did.
    func run() async -> String? {
        do {
            return try await attempt()
        } catch {
            return (error as? MartletError)?.message ?? "\(error)"
        }
    }

    private func attempt() async throws -> String? {
        let (first, second) = (try Subject("first", self), try Subject("second", self))
        let saved = "\(directory)/saved"
        mkdir(saved, 0o700)
        let problem: String?
        do {
            if let refused = try await capture(first, into: saved) {
                problem = refused
            } else {
                problem = try await restore(second, from: saved)
            }
        } catch {
            await first.end()
            await second.end()
            throw error
        }
        await first.end()
        await second.end()
        return problem
    }

    private func capture(_ subject: Subject, into saved: String) async throws -> String? {
        try subject.start(["run", "--bundle", subject.state, GVisorCommand.container])
        guard try await subject.repeats("a") else { return "run: \(subject.said)" }
        let capture = GVisorCapture(command: subject.command)
        try await capture.halt()
        _ = try await capture.save(into: saved)
        try await capture.proceed()
        return try await subject.repeats("b") ? nil : "checkpoint: the container did not go on: \(subject.said)"
    }

    private func restore(_ subject: Subject, from saved: String) async throws -> String? {
        try subject.start(
            ["restore", "--image-path", saved, "--bundle", subject.state, GVisorCommand.container])
        return try await subject.repeats("c") ? nil : "restore: \(subject.said)"
    }

    /// One container of the trial.
    private final class Subject {
        let command: GVisorCommand
        private let input: Descriptor
        private let output: Descriptor
        private let log: Descriptor
        private var process: ProcessHandle?

        var state: String { command.state }
        var said: String {
            GVisorCommand.reason(String(decoding: (try? log.read(upTo: 4096, at: 0)) ?? [], as: UTF8.self))
        }

        init(_ name: String, _ trial: GVisorTrial) throws {
            let state = "\(trial.directory)/\(name)"
            mkdir(state, 0o700)
            command = GVisorCommand(program: trial.program, platform: trial.platform, state: state)
            input = try NamedPipe.make("\(state)/in", capacity: 65_536)
            output = try NamedPipe.make("\(state)/out", capacity: 65_536)
            log = try Descriptor.open("\(state)/log", O_RDWR | O_CREAT)
            let bundle = ContainerBundle(
                process: .init(args: ["/bin/cat"], capabilities: [:], rlimits: []),
                root: .init(path: "/", readonly: true),
                mounts: [.init(destination: "/proc", type: "proc", source: "proc")],
                linux: .init(namespaces: ["pid", "ipc", "uts", "mount", "network"].map { .init(type: $0) }))
            try AtomicFile.write(Array(JSONEncoder().encode(bundle)), to: "\(state)/config.json", durable: false)
        }

        func start(_ words: [String]) throws {
            var request = SpawnRequest(
                program: command.program, arguments: command.arguments(words),
                environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"],
                descriptors: [input.number, output.number, log.number])
            request.directory = "/"
            // One that cannot do it may have ended by now, and be gone.
            process = try? ProcessHandle.open(pid: ChildProcess.spawn(request).pid)
        }

        /// Whether it answers what it is told.
        func repeats(_ word: String) async throws -> Bool {
            try input.writeAll(Array(word.utf8))
            let (output, process) = (output, process)
            return try await NIOThreadPool.singleton.runIfActive {
                var left = GVisorTrial.patienceMilliseconds
                while left > 0, process?.hasEnded == false {
                    if clinux_poll_one(output.number, Int16(POLLIN), 100) > 0 {
                        return try output.read(upTo: 64) == Array(word.utf8)
                    }
                    left -= 100
                }
                return false
            }
        }

        func end() async {
            guard let process else { return }
            // It clears up after its container by itself.
            _ = try? await command.run("kill", [], ["KILL"])
            let patience = GVisorTrial.patienceMilliseconds
            _ = try? await NIOThreadPool.singleton.runIfActive { process.waitForEnd(milliseconds: patience) }
            process.signal(SIGKILL)
            await ExitWatcher.shared.waitUntilEnded(process)
        }
    }
}
