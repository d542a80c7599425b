import CLinux
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel
import Synchronization

/// A thread in a mount namespace of its own, which nothing of the host sees: it keeps templates mounted there, and gives
/// each sandbox a copy with the sandbox's own mounts. With the daemon all of it goes, but for what sandboxes still use.
package final class MountThread: Sendable {
    /// Where everything is mounted; inside the namespace only, so it is the same for all daemons of a host.
    package static let place = "/run/martlet/mounts"
    private let pool: NIOThreadPool
    private let home: Descriptor
    private let roots = Mutex<[String: Root]>([:])

    /// A template's file system, mounted at home. Links to one image have one mount.
    private struct Root {
        var place: String
        var file: String
    }

    private init(pool: NIOThreadPool, home: Descriptor) {
        self.pool = pool
        self.home = home
    }

    deinit { pool.shutdownGracefully { _ in } }

    /// - Throws: what is missing for it: being root, above all.
    package static func start() async throws -> MountThread {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        do {
            let home = try await pool.runIfActive {
                for folder in ["/run/martlet", place] { try makeFolder(folder) }
                try MountNamespace.enterCopy()
                try MountNamespace.mount("martlet", at: place, type: "tmpfs", options: "mode=0711,size=4m")
                for folder in ["roots", "machine"] { try makeFolder("\(place)/\(folder)") }
                return try MountNamespace.current()
            }
            return MountThread(pool: pool, home: home)
        } catch {
            try? await pool.shutdownGracefully()
            throw error
        }
    }

    /// Runs `work` in a new copy of the namespace, which ends with the last process started in it.
    package func inCopy<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        let home = home
        return try await pool.runIfActive {
            try MountNamespace.enterCopy()
            // One that could not go home does its next work in yet another copy, of what was not meant for it.
            defer { try? MountNamespace.enter(home) }
            return try work()
        }
    }

    /// A new network namespace, with nothing in it but loopback.
    func newNetwork() async throws -> Descriptor {
        try await pool.runIfActive {
            let before = try NetworkNamespace.current()
            let made = try NetworkNamespace.enterNew()
            let result = clinux_loopback_up()
            try NetworkNamespace.enter(before)
            try SystemError.check(result, "bring up", "lo")
            return made
        }
    }

    /// Where a template's ext4 image is mounted, read-only, in every copy made from now on.
    package func root(of image: String) async throws -> String {
        try await pool.runIfActive { [self] in
            try MountNamespace.enter(home)
            let file = try MountThread.file(image)
            if let known = roots.withLock({ $0[image] }) {
                if known.file == file { return known.place }
                forget(image)
            }
            for other in roots.withLock({ Array($0.keys) }) where access(other, F_OK) != 0 { forget(other) }
            let place = "\(MountThread.place)/roots/\(file)"
            if !isUsed(place) {
                try MountThread.makeFolder(place)
                try MountThread.mountTemplate(image, at: place)
            }
            roots.withLock { $0[image] = Root(place: place, file: file) }
            return place
        }
    }

    private static func mountTemplate(_ image: String, at place: String) throws {
        do {
            try LoopDevice(Descriptor.open(image, O_RDONLY), readOnly: true).mount(at: place, readOnly: true)
        } catch  where error.errno == EROFS {
            // Its journal would have to be gone through, which writes.
            throw MartletError(
                .unsupported,
                "container: the template's disk was captured while it was in use; make the sandbox with isolation "
                    + "'microvm'")
        }
    }

    /// Makes a directory that everybody may pass through, whatever the daemon's mask is, or lets them through one that is
    /// there.
    static func makeFolder(_ path: String) throws(SystemError) {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw SystemError("mkdir", path, errno: errno) }
        guard chmod(path, 0o755) == 0 else { throw SystemError("chmod", path, errno: errno) }
    }

    private func forget(_ image: String) {
        guard let root = roots.withLock({ $0.removeValue(forKey: image) }), !isUsed(root.place) else { return }
        try? MountNamespace.unmount(root.place)
        rmdir(root.place)
    }

    private func isUsed(_ place: String) -> Bool { roots.withLock { $0.values.contains { $0.place == place } } }

    /// Names a file whatever its path is.
    private static func file(_ path: String) throws(SystemError) -> String {
        var info = stat()
        guard stat(path, &info) == 0 else { throw SystemError("stat", path, errno: errno) }
        return "\(info.st_dev)-\(info.st_ino)"
    }
}
