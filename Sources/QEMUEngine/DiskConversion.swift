import CLinux
import Glibc
import Jail
import LinuxSystem
import NIOPosix
import SandboxModel

/// Writes a disk of several files into one raw file, by qemu-img.
///
/// The layers were written by a QEMU that may have been taken over, so what reads them is jailed as that was: their own
/// blocks are all it can see, and the new file all it can change.
struct DiskConversion {
    /// The path of qemu-img.
    let program: String
    /// The jail for it; nil where nothing is jailed.
    let jail: QEMUJail?

    /// Of a tool's last words, no more than this is kept; a pipe's whole content.
    private static let wordBytes = 65_536

    /// Writes the file; nothing is left of it if that fails. Cancelling stops it.
    ///
    /// - Parameters:
    ///   - files: a raw image, and the qcow2 layers over it, the oldest first. Every one is said to qemu-img, so that what a
    ///     header says of its backing never counts.
    ///   - bytes: the disk's size.
    /// - Throws: `resource_exhausted` when the data disk is full.
    func flatten(_ files: [String], bytes: UInt64, to path: String) async throws {
        let user = jail?.users.take()
        defer { if let user { jail?.users.giveBack(user) } }
        do {
            let running = try await onThread { try start(files, bytes, path, user) }
            let outcome = await running.outcome()
            try Task.checkCancellation()
            guard outcome.isSuccess else { throw DiskConversion.failure(outcome.words) }
            try await onThread { try DiskConversion.give(path, to: 0, mode: 0o600) }
        } catch {
            unlink(path)
            throw error
        }
    }

    /// What a tool's last words mean.
    static func failure(_ words: String) -> MartletError {
        let text = words.split(whereSeparator: \.isNewline).joined(separator: "; ")
        return MartletError(
            text.contains("No space left") ? .resourceExhausted : .internal,
            "qemu-img: make a disk: \(text.isEmpty ? "it ended without a word" : text)")
    }

    private func onThread<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        try await NIOThreadPool.singleton.runIfActive(work)
    }

    // MARK: Starting

    private func start(_ files: [String], _ bytes: UInt64, _ path: String, _ user: UInt32?) throws -> Conversion {
        // It is there before, since in a jail nothing can be made.
        let target = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
        guard ftruncate(target.number, off_t(bytes)) == 0 else { throw SystemError("truncate", path, errno: errno) }
        var ends: [Int32] = [0, 0]
        // Its words are read once it has ended; one that says more than fits is not waited for.
        try SystemError.check(clinux_pipe(&ends, O_NONBLOCK), "pipe")
        let (reading, writing) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        let descriptors: [Int32?] = [nil, nil, writing.number]
        defer { withExtendedLifetime(writing) {} }
        guard let jail, let user else {
            var request = SpawnRequest(
                program: program, arguments: [program] + DiskConversion.arguments(files, path),
                environment: ["PATH=/usr/bin:/bin", "LANG=C"], descriptors: descriptors)
            request.noNewPrivileges = true
            return Conversion(process: try ChildProcess.spawn(request), words: reading, group: nil)
        }
        guard files.count <= QEMURoot.Place.maxDisks else {
            throw MartletError(.internal, "qemu-img: a disk of \(files.count) files")
        }
        try DiskConversion.give(path, to: user, mode: 0o600)
        var binds = [JailSpec.Bind(path, at: QEMURoot.Place.memory, isWritable: true)]
        for (index, file) in files.enumerated() {
            JailSpec.Bind.makeReadable(file)
            binds.append(JailSpec.Bind(file, at: QEMURoot.Place.disk(index)))
        }
        let started = try jail.spawnTool(
            program, DiskConversion.arguments(files.indices.map(QEMURoot.Place.disk), QEMURoot.Place.memory),
            name: RandomID.make(prefix: "d"), directory: path, user: user, binds: binds, descriptors: descriptors,
            largestFile: bytes)
        return Conversion(process: started.process, words: reading, group: started.group)
    }

    private static func arguments(_ files: [String], _ target: String) -> [String] {
        ["convert", "-q", "-n", "--target-is-zero", "-O", "raw", "json:\(BlockNode.disk(files))", target]
    }

    private static func give(_ path: String, to owner: UInt32, mode: UInt32) throws(SystemError) {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        try MachineFiles.hand(
            String(path[path.index(after: slash)...]), in: String(path[..<slash]), to: owner, mode: mode)
    }

    // MARK: Ending

    private struct Conversion: Sendable {
        let process: ChildProcess
        let words: Descriptor
        /// Its own; nil where it is not jailed.
        let group: ControlGroup?

        struct Outcome: Sendable {
            var isSuccess: Bool
            var words: String
        }

        /// Waits for its end, and makes it come when the task is cancelled.
        func outcome() async -> Outcome {
            if let pidfd = process.pidfd {
                await ReadinessWatcher.shared.waitUntilReadableOrCancelled(pidfd)
                if Task.isCancelled { _ = clinux_pidfd_send_signal(pidfd.number, SIGKILL) }
                await ReadinessWatcher.shared.waitUntilReadable(pidfd)
            }
            return await withCheckedContinuation { continuation in
                NIOThreadPool.singleton.submit { _ in continuation.resume(returning: collect()) }
            }
        }

        private func collect() -> Outcome {
            var exit = clinux_exit()
            _ = clinux_reap(process.pid, &exit)
            if let group {
                group.kill()
                group.remove()
            }
            let said = (try? words.read(upTo: DiskConversion.wordBytes)) ?? []
            let words = String(decoding: said, as: UTF8.self)
            return Outcome(
                isSuccess: exit.pid == process.pid && exit.signal == 0 && exit.code == 0,
                words: exit.signal == 0 ? words : "it was ended by signal \(exit.signal)")
        }
    }
}
