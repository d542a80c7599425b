import Foundation
import Glibc
import LinuxSystem
import MartletClient
import NIOPosix
import SandboxModel
import Testing

/// A daemon as users run it - the built program, real machines - with a data directory of its own.
final class DaemonFixture: @unchecked Sendable {
    // Unchecked: `process` is only replaced by `start`, which tests call from one task.
    let data: String
    let client: MartletClient
    private let options: [String]
    /// The world it runs in; nil is this machine itself.
    private let lab: NetworkLab?
    private(set) var process: ProcessHandle?

    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path
    static let images =
        ProcessInfo.processInfo.environment["MARTLET_TEST_IMAGES"] ?? "\(repository)/.cache/images"
    /// Beside the test bundle: what was built with it.
    static let program: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: own).deletingLastPathComponent().path + "/martlet"
    }()
    static var canRun: Bool {
        FileManager.default.isExecutableFile(atPath: program)
            && FileManager.default.fileExists(atPath: "\(images)/templates/base.json")
    }

    private init(data: String, options: [String], lab: NetworkLab?) {
        self.data = data
        self.options = options
        self.lab = lab
        client = MartletClient(ClientConfiguration(endpoint: .unixSocket(path: "\(data)/api.sock")))
    }

    /// Runs `body` beside a daemon; its processes and files are gone afterwards, whatever happened.
    static func with(
        _ options: [String] = ["--no-pool"], in data: String? = nil, lab: NetworkLab? = nil,
        _ body: (DaemonFixture) async throws -> Void
    ) async throws {
        let directory = data ?? NSTemporaryDirectory() + "martlet-it-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let fixture = DaemonFixture(data: directory, options: options, lab: lab)
        var outcome: Result<Void, any Error> = .success(())
        do {
            try await fixture.start()
            try await body(fixture)
        } catch {
            let log = (try? String(contentsOfFile: "\(directory)/test.log", encoding: .utf8)) ?? ""
            print("daemon's log:", log.split(separator: "\n").suffix(60).joined(separator: "\n"))
            outcome = .failure(error)
        }
        try? await fixture.client.shutdown()
        fixture.kill()
        for machine in fixture.machines() {
            machine.signal(SIGKILL)
            _ = machine.waitForEnd(milliseconds: 5000)
        }
        fixture.clearGroups()
        try? FileManager.default.removeItem(atPath: directory)
        try outcome.get()
    }

    /// Starts the daemon; returns when it takes requests.
    func start() async throws {
        let arguments =
            [
                Self.program, "serve", "--data", data, "--images", Self.images, "--templates",
                "\(Self.repository)/templates", "--listen", "127.0.0.1:0", "--background-child",
            ] + options
        if let lab {
            process = try await lab.startDaemon(arguments, Self.environment(data), data: data)
            return
        }
        let data = data
        process = try await NIOThreadPool.singleton.runIfActive {
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else { throw SystemError("pipe", "test", errno: errno) }
            let ready = Descriptor(owning: ends[0])
            let readyChild = Descriptor(owning: ends[1])
            let log = try Descriptor.open("\(data)/test.log", O_WRONLY | O_CREAT | O_APPEND)
            var request = SpawnRequest(
                program: Self.program, arguments: arguments, environment: Self.environment(data),
                descriptors: [nil, log.number, log.number, readyChild.number, log.number])
            request.directory = "/"
            let child = try ChildProcess.spawn(request)
            readyChild.close()
            let answer = String(decoding: try ready.readAll(limit: 4096), as: UTF8.self)
            guard answer.hasPrefix("ready") else { throw MartletError(.unavailable, "the daemon said: \(answer)") }
            return try ProcessHandle.open(pid: child.pid)
        }
    }

    /// Takes charge of a daemon that somebody else started in our data directory.
    func take(_ pid: Int32) { process = try? ProcessHandle.open(pid: pid) }

    static func environment(_ data: String) -> [String] {
        var environment = [
            "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "MARTLET_DATA=\(data)", "MARTLET_IMAGES=\(images)",
            "MARTLET_GUEST_AGENT=\(repository)/libexec/martlet-guest", "HOME=\(data)",
        ]
        if let program = Wall.firecracker("firecracker"), let jailer = Wall.firecracker("jailer") {
            environment += ["MARTLET_FIRECRACKER=\(program)", "MARTLET_FIRECRACKER_JAILER=\(jailer)"]
        }
        return environment
    }

    /// Ends the daemon without a warning, as a crash would.
    func kill() { end(SIGKILL) }

    /// Ends the daemon orderly.
    func stop() { end(SIGTERM) }

    private func end(_ signal: Int32) {
        guard let process else { return }
        process.signal(signal)
        #expect(process.waitForEnd(milliseconds: 20_000), "the daemon did not end")
        process.reap()
        self.process = nil
    }

    /// Handles on the QEMU processes of this data directory, whoever their parent is: known by what is mounted in their
    /// jails.
    func machines() -> [ProcessHandle] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        // Mounts are told of by the path in their file system, which need not begin at our root.
        let name = URL(fileURLWithPath: data).lastPathComponent
        return names.compactMap { Int32($0) }.compactMap { pid in
            guard let bytes = try? AtomicFile.read("/proc/\(pid)/mountinfo", limit: 1 << 20),
                String(decoding: bytes, as: UTF8.self).contains("/\(name)/node/machines/")
            else { return nil }
            return try? ProcessHandle.open(pid: pid)
        }
    }

    /// The control groups of this daemon's containers.
    private var containerGroups: ControlGroupParent? {
        try? ControlGroupParent.make("containers-" + ControlGroupParent.name(for: data))
    }

    /// How many containers run.
    func containers() -> Int { containerGroups?.groups().count { !$0.processes().isEmpty } ?? 0 }

    /// Ends what a daemon that was killed has left, and removes its groups.
    private func clearGroups() {
        let machineGroups = try? ControlGroupParent.make(ControlGroupParent.name(for: data))
        for parent in [machineGroups, containerGroups].compactMap(\.self) {
            for group in parent.groups() {
                group.kill()
                group.removeAll()
            }
            parent.remove()
        }
    }

    /// Directories of machines on the disk.
    func machineDirectories() -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: "\(data)/node/machines")) ?? []
    }

    /// What a program of ours printed and how it ended.
    struct Outcome: Sendable {
        var code: Int32
        var output: String
        var errors: String
    }

    /// Runs the command line tool against this daemon.
    func cli(_ arguments: String..., input: [UInt8]? = nil) async throws -> Outcome {
        let (data, all) = (data, arguments)
        return try await NIOThreadPool.singleton.runIfActive {
            let id = UUID().uuidString
            let (out, err, inn) = ("\(data)/\(id).out", "\(data)/\(id).err", "\(data)/\(id).in")
            let output = try Descriptor.open(out, O_RDWR | O_CREAT)
            let errors = try Descriptor.open(err, O_RDWR | O_CREAT)
            var source: Descriptor?
            if let input {
                try AtomicFile.write(input, to: inn, durable: false)
                source = try Descriptor.open(inn, O_RDONLY)
            }
            let child = try ChildProcess.spawn(
                SpawnRequest(
                    program: Self.program, arguments: ["martlet"] + all, environment: Self.environment(data),
                    descriptors: [source?.number, output.number, errors.number]))
            var status: Int32 = 0
            while waitpid(child.pid, &status, 0) < 0, errno == EINTR {}
            let code = status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
            return Outcome(
                code: code, output: String(decoding: try AtomicFile.read(out), as: UTF8.self),
                errors: String(decoding: try AtomicFile.read(err), as: UTF8.self))
        }
    }
}

extension Trait where Self == ConditionTrait {
    /// Needs the built program and template; `scripts/test` sees to both.
    static var requiresDaemon: Self {
        .enabled(if: DaemonFixture.canRun, "the program or the template base is not built")
    }
}
