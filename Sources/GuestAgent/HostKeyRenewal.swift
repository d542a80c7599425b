import CLinux
import Glibc
import LinuxSystem

/// What the making of SSH host keys needs.
package struct HostKeyPlaces: Sendable {
    /// Where the keys belong.
    package var directory = "/etc/ssh"
    /// The program that makes them; without it there are none until someone makes them.
    package var generator = "/usr/bin/ssh-keygen"
    /// A directory for what is not finished: in memory, the agent's alone, made and removed by it.
    package var scratch = "/run/martlet/host-keys"
    /// Tells the server's pid, which is told to read its keys again.
    package var serverPID = "/run/sshd.pid"

    package init() {}
}

/// Makes new SSH host keys while everything else goes on: one after the other, the quick kinds first.
final class HostKeyRenewal {
    /// What the generator makes today, quickest first; keys of other kinds are removed and not made again.
    private static let kinds = ["ed25519", "ecdsa", "rsa"]

    private let places: HostKeyPlaces
    private unowned let processes: ProcessTable
    private let log: @Sendable (String) -> Void
    private var unfinished: [String] = []
    private var generator: Int32?
    /// Counts the renewals: a generator that ends late belongs to one that was abandoned.
    private var attempt = 0

    init(places: HostKeyPlaces, processes: ProcessTable, log: @escaping @Sendable (String) -> Void) {
        self.places = places
        self.processes = processes
        self.log = log
    }

    /// Whether keys are being made.
    var isUnderWay: Bool { !unfinished.isEmpty }

    /// Stops a renewal that is under way; returns the kinds that were still to be made.
    func abandon() -> [String] {
        attempt += 1
        if let generator { _ = clinux_kill(generator, SIGKILL) }
        generator = nil
        defer { unfinished = [] }
        return unfinished
    }

    /// Begins to make keys; kinds nobody makes any more are left out.
    func start(_ kinds: [String]) {
        unfinished = HostKeyRenewal.kinds.filter { kinds.contains($0) }
        next()
    }

    private func next() {
        guard let kind = unfinished.first else { return removeScratch() }
        guard access(places.generator, X_OK) == 0 else {
            unfinished = []
            return
        }
        do throws(SystemError) {
            try make(kind)
        } catch {
            log("host keys: \(error)")
            unfinished = []
        }
    }

    private func make(_ kind: String) throws(SystemError) {
        removeScratch()
        guard mkdir(places.scratch, 0o700) == 0 else { throw SystemError("make", places.scratch, errno: errno) }
        let request = SpawnRequest(
            program: places.generator,
            arguments: [
                "ssh-keygen", "-q", "-t", kind, "-N", "", "-f", "\(places.scratch)/\(HostKeyFiles.name(ofKind: kind))",
            ], environment: ["PATH=" + ProcessLauncher.standardPath, "LANG=C.UTF-8"])
        let current = attempt
        generator = try processes.startHelper(request) { [weak self] exit in
            guard let self, attempt == current else { return }
            generator = nil
            made(kind, exit)
        }
    }

    private func made(_ kind: String, _ exit: clinux_exit) {
        unfinished.removeAll { $0 == kind }
        do throws(SystemError) {
            guard exit.signal == 0, exit.code == 0 else { throw SystemError("make", "\(kind) key", errno: EIO) }
            try HostKeyFiles(directory: places.directory).install(kind: kind, from: places.scratch)
            // After each: until then the server goes on with the keys it has in memory.
            tellServer()
        } catch {
            log("host keys: \(error)")
        }
        next()
    }

    private func removeScratch() {
        if let reader = DirectoryReader(path: places.scratch) {
            while reader.advance() { if let name = reader.entryName { unlinkat(reader.descriptor, name, 0) } }
        }
        rmdir(places.scratch)
    }

    private func tellServer() {
        guard let text = try? Descriptor.open(places.serverPID, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).read(upTo: 32)
        else { return }
        let digits = text.prefix { (48...57).contains($0) }
        guard let pid = Int32(String(decoding: digits, as: UTF8.self)), pid > 1,
            let name = try? Descriptor.open("/proc/\(pid)/comm", O_RDONLY).read(upTo: 32),
            name == Array("sshd\n".utf8)
        else { return }
        _ = clinux_kill(pid, SIGHUP)
    }
}
