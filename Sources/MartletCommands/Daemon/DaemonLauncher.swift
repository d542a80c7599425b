import Glibc
import LinuxSystem
import MartletClient
import SandboxModel

/// Starts the daemon in the background when none is running, once, however many want it at the same time.
///
/// Whoever starts it holds a lock and hands it down to the daemon, which lets go of it when it is ready: everybody else
/// waits for the lock and then finds the daemon there.
struct DaemonLauncher: Sendable {
    let data: DataDirectory
    let environment: [String: String]
    /// Whether the user is told that a daemon was started.
    var announces = true

    /// Descriptors the daemon finds its parent's ends at.
    static let readyDescriptor: Int32 = 3
    static let lockDescriptor: Int32 = 4
    /// What the daemon writes when it takes requests.
    static let readyWord = "ready"

    /// Returns when a daemon is listening, started by us or not.
    ///
    /// - Throws: `unavailable` with the daemon's own words when it does not come up.
    func ensureRunning() async throws {
        if isListening() { return }
        try await Blocking.run {
            try Self.makeDirectory(data)
            let lock = try FileLock.wait(data.startLock)
            if isListening() { return }
            try start(lock)
        }
    }

    /// Whether somebody accepts connections at the socket.
    func isListening() -> Bool {
        guard let directory = try? Descriptor.openDirectory(data.path) else { return false }
        return (try? UnixSocket.connect(in: directory, name: "api.sock")) != nil
    }

    /// Makes the data directory and those above it, for this user alone.
    static func makeDirectory(_ data: DataDirectory) throws(MartletError) {
        var path = ""
        for part in data.path.split(separator: "/") {
            path += "/" + part
            if mkdir(path, 0o700) != 0, errno != EEXIST {
                throw MartletError(
                    .failedPrecondition,
                    "data directory: \(path): \(String(cString: strerror(errno))); MARTLET_DATA names another one")
            }
        }
    }

    private func start(_ lock: FileLock) throws {
        let log = try Descriptor.open(data.daemonLog, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
        let logStart = lseek(log.number, 0, SEEK_END)
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends) == 0 else { throw SystemError("pipe", "daemon", errno: errno) }
        let (ready, readyChild) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        let program = Installation.runningExecutable
        var request = SpawnRequest(
            program: program, arguments: [program, "serve", "--data", data.path, "--background-child"],
            environment: environment.map { "\($0.key)=\($0.value)" },
            descriptors: [nil, log.number, log.number, readyChild.number, lock.descriptor.number])
        request.directory = "/"
        let child: ChildProcess
        do {
            child = try ChildProcess.spawn(request)
        } catch {
            throw MartletError(.unavailable, "daemon: it could not be started: \(error)")
        }
        readyChild.close()
        lock.release()
        let answer = String(decoding: try ready.readAll(limit: 65_536), as: UTF8.self)
        guard answer.hasPrefix(Self.readyWord) else { throw failure(answer, logStart: logStart) }
        guard announces else { return }
        Console.note("started the daemon (pid \(child.pid), log \(data.daemonLog))")
    }

    /// Why the daemon did not come up: what it said to us, else the end of what it logged.
    private func failure(_ answer: String, logStart: Int) -> MartletError {
        var why = answer.split(separator: "\n").first.map(String.init) ?? ""
        if why.isEmpty, let log = try? Descriptor.open(data.daemonLog, O_RDONLY) {
            lseek(log.number, logStart, SEEK_SET)
            let text = String(decoding: (try? log.readAll(limit: 1 << 20)) ?? [], as: UTF8.self)
            why = text.split(separator: "\n").suffix(3).joined(separator: "; ")
        }
        return MartletError(
            .unavailable,
            "daemon: it ended before it was ready: \(why.isEmpty ? "it said nothing" : why) (log \(data.daemonLog))")
    }

    /// A pipe whose ends no other program inherits.
    private func pipe2(_ ends: inout [Int32]) -> Int32 {
        guard pipe(&ends) == 0 else { return -1 }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return 0
    }
}
