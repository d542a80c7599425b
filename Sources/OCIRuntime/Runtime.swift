import FoundationEssentials
import Glibc
import LinuxSystem
import MartletClient
import SandboxModel

/// The verbs of the specification, for one container.
struct Runtime: Sendable {
    let options: RuntimeOptions
    let directory: ContainerDirectory

    /// The state as the specification has it (runtime.md, "State").
    private struct State: Encodable {
        var ociVersion = OCIProgram.specification
        var id: String
        var status: String
        var pid: Int32?
        var bundle: String
        var annotations: [String: String]
    }

    /// Makes the container, up to the point where its program only needs the word to start.
    func create() async throws {
        let bundle = options.bundle ?? (getcwd(nil, 0).map { String(cString: $0) } ?? ".")
        guard bundle.hasPrefix("/") else { throw MartletError.invalid("--bundle", "is no absolute path") }
        let plan = try ContainerPlan(try ContainerConfiguration.read(bundle: bundle), bundle: bundle)
        guard plan.terminal == (options.consoleSocket != nil) else {
            throw MartletError.invalid("--console-socket", "goes with process.terminal, and with nothing else")
        }
        try directory.make()
        let lock = try directory.lock()
        defer { lock.release() }
        var record = ContainerRecord(
            id: directory.id, bundle: bundle, annotations: plan.annotations, sandbox: try Self.sandboxName(),
            data: options.data, terminal: plan.terminal)
        do {
            try directory.write(record)
            try await Self.withMachine(record) { try await $0.make(plan, container: record.id) }
            let shim = try await launchShim(terminal: plan.terminal)
            record.shim = shim.identity
            do {
                try directory.write(record)
                if let path = options.pidFile {
                    try AtomicFile.write(Array("\(shim.pid)".utf8), to: path, mode: 0o644, durable: false)
                }
            } catch {
                shim.signal(SIGKILL)
                throw error
            }
        } catch {
            // What failed is told; a sandbox that cannot be reached now ends with its lease.
            try? await Self.withMachine(record) { try await $0.delete() }
            directory.remove()
            throw error
        }
    }

    /// Starts the process that stands for the container, and waits until it says that all is ready.
    private func launchShim(terminal: Bool) async throws -> ProcessHandle {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("pipe", "shim", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let (ready, writer) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        var words = ["martlet-oci", "--root", options.root, Shim.verb]
        if let socket = options.consoleSocket { words += ["--console-socket", socket] }
        var request = SpawnRequest(
            program: "/proc/self/exe", arguments: words + [directory.id], environment: Self.environment,
            descriptors: terminal ? [nil, nil, nil, writer.number] : [0, 1, 2, writer.number])
        request.directory = "/"
        let child = try ChildProcess.spawn(request)
        writer.close()
        let handle = try ProcessHandle.open(pid: child.pid)
        let answer = try await Blocking.run { String(decoding: try ready.readAll(limit: 65_536), as: UTF8.self) }
        guard answer == Shim.readyWord else {
            handle.signal(SIGKILL)
            throw MartletError(
                .failedPrecondition, answer.isEmpty ? "the container's process ended before it was ready" : answer)
        }
        return handle
    }

    /// Runs the program of a container that was created.
    func start() throws {
        let lock = try directory.lock()
        defer { lock.release() }
        let status = directory.status(try directory.read())
        guard status == "created" else {
            throw MartletError(.failedPrecondition, "container \(directory.id): cannot be started: it is \(status)")
        }
        try directory.ask("start")
    }

    /// The container's state as JSON.
    func state() throws -> String {
        let record = try directory.read()
        let status = directory.status(record)
        let state = State(
            id: record.id, status: status, pid: status == "stopped" ? nil : record.shim?.pid, bundle: record.bundle,
            annotations: record.annotations)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return String(decoding: try encoder.encode(state), as: UTF8.self)
    }

    /// Sends a signal, `SIGTERM` unless told otherwise, to the container's first process.
    func kill() throws {
        let name = options.words.count > 1 ? options.words[1] : "SIGTERM"
        guard let signal = LinuxSignal(name) else {
            throw MartletError.invalid("signal", "'\(name.prefix(32))' is none")
        }
        let status = directory.status(try directory.read())
        guard status == "created" || status == "running" else {
            throw MartletError(.failedPrecondition, "container \(directory.id): cannot be signalled: it is \(status)")
        }
        try directory.ask("signal \(signal.number)")
    }

    /// Removes a container that has ended; with `--force` whatever it does, and without complaint if it is not there.
    func delete() async throws {
        let lock: FileLock
        do {
            lock = try directory.lock()
        } catch let error as MartletError where error.code == .notFound && options.force {
            return
        }
        defer { lock.release() }
        guard let record = try? directory.read() else {
            guard options.force else {
                throw MartletError(.internal, "container \(directory.id): its state is damaged")
            }
            directory.remove()
            return
        }
        let status = directory.status(record)
        guard options.force || status == "stopped" else {
            throw MartletError(.failedPrecondition, "container \(directory.id): cannot be deleted: it is \(status)")
        }
        if let shim = record.shim.flatMap({ ProcessHandle.reopen($0) }) {
            shim.signal(SIGKILL)
            _ = shim.waitForEnd(milliseconds: 10_000)
        }
        do {
            try await Self.withMachine(record) { try await $0.delete() }
        } catch let error where options.force && MartletClient.isNobodyListening(error) {
            // No daemon: the sandbox's lease, which nobody extends now, is its end.
        }
        directory.remove()
    }

    /// Hands the container's sandbox to `body`.
    static func withMachine<Result: Sendable>(
        _ record: ContainerRecord, _ body: (ContainerMachine) async throws -> Result
    ) async throws -> Result {
        var variables: [String: String] = [:]
        for entry in environment {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
        }
        if let data = record.data {
            variables["MARTLET_DATA"] = data
            variables["MARTLET_URL"] = nil
        }
        return try await MartletClient.with(try ClientConfiguration(environment: variables)) { client in
            try await body(ContainerMachine(client: client, sandbox: record.sandbox))
        }
    }

    private static func sandboxName() throws -> String {
        let bytes = try Descriptor.open("/dev/urandom", O_RDONLY).read(upTo: 12)
        return "oci-" + bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// Our environment, as `NAME=value`.
    private static let environment: [String] = {
        var entries: [String] = []
        var entry = environ
        // SAFETY: environ is a NULL-terminated array of strings that nobody changes in this program.
        while let pointer = entry.pointee {
            entries.append(String(cString: pointer))
            entry += 1
        }
        return entries
    }()
}
