import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel

/// What is written down of a container, for the next call of the runtime.
struct ContainerRecord: Codable, Sendable {
    var id: String
    var bundle: String
    var annotations: [String: String]
    /// The sandbox's name, written before the sandbox is made: whatever is killed half-way can be cleared away.
    var sandbox: String
    /// The data directory of its daemon.
    var data: String?
    var terminal: Bool
    /// The process that stands for the container on the host; nil while it is being made.
    var shim: ProcessHandle.Identity?
}

/// A container's directory: its record, its control socket, whether it was started.
struct ContainerDirectory: Sendable {
    let root: String
    let id: String

    var path: String { "\(root)/\(id)" }
    private var recordPath: String { path + "/state.json" }
    private var startedPath: String { path + "/started" }
    /// The name of the socket in ``path`` that the shim listens at.
    static let controlName = "control"

    /// Makes the directory; no container of that id may be there.
    func make() throws {
        var at = ""
        for part in root.split(separator: "/") {
            at += "/" + part
            guard mkdir(at, 0o700) == 0 || errno == EEXIST else { throw SystemError("mkdir", at, errno: errno) }
        }
        guard mkdir(path, 0o700) == 0 else {
            guard errno == EEXIST else { throw SystemError("mkdir", path, errno: errno) }
            throw MartletError(.conflict, "container \(id): is there already; delete it first")
        }
    }

    /// Keeps other calls of the runtime from changing the container meanwhile.
    func lock() throws -> FileLock {
        do {
            return try FileLock.wait(path + "/lock")
        } catch {
            throw error.errno == ENOENT ? missing : error
        }
    }

    func write(_ record: ContainerRecord) throws {
        try AtomicFile.write(Array(try JSONEncoder().encode(record)), to: recordPath, durable: false)
    }

    /// - Throws: `not_found` when there is no such container.
    func read() throws -> ContainerRecord {
        let bytes: [UInt8]
        do {
            bytes = try AtomicFile.read(recordPath, limit: 8 << 20)
        } catch {
            throw error.errno == ENOENT ? missing : error
        }
        guard let record = try? JSONDecoder().decode(ContainerRecord.self, from: Data(bytes)) else {
            throw MartletError(.internal, "container \(id): \(recordPath) is damaged; delete it with --force")
        }
        return record
    }

    private var missing: MartletError { MartletError(.notFound, "container \(id): does not exist") }

    func markStarted() throws { try AtomicFile.write([], to: startedPath, durable: false) }

    /// The specification's word for where the container is in its life.
    func status(_ record: ContainerRecord) -> String {
        guard let shim = record.shim else { return "creating" }
        guard ProcessHandle.reopen(shim) != nil else { return "stopped" }
        return access(startedPath, F_OK) == 0 ? "running" : "created"
    }

    func remove() {
        for name in [Self.controlName, "started", "state.json", "state.json.new", "lock"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    /// Asks the shim for something and waits until it is done.
    ///
    /// - Throws: `failed_precondition` when the shim is gone; what the shim says otherwise.
    func ask(_ line: String) throws {
        let connection: Descriptor
        do {
            connection = try UnixSocket.connect(in: try Descriptor.openDirectory(path), name: Self.controlName)
        } catch {
            throw MartletError(.failedPrecondition, "container \(id): its process is not running")
        }
        try connection.writeAll(Array("\(line)\n".utf8))
        let answer = String(decoding: try connection.readAll(limit: 65_536), as: UTF8.self)
        guard answer != "ok\n" else { return }
        let why = answer.isEmpty ? "its process ended meanwhile" : answer.trimmingSuffix { $0 == "\n" }
        throw MartletError(.failedPrecondition, "container \(id): \(why)")
    }
}

extension String {
    fileprivate func trimmingSuffix(_ isTrimmed: (Character) -> Bool) -> String {
        var rest = self[...]
        while let last = rest.last, isTrimmed(last) { rest.removeLast() }
        return String(rest)
    }
}
