import FoundationEssentials
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel
import Synchronization

/// Archives that clients have sent for the COPY steps of template builds, by the hash they were sent with. The hash is
/// the client's word, so that each key has its own; the host never looks into an archive, which is unpacked in a guest.
final class BuildFiles: Sendable {
    /// What all of it may take.
    struct Limits: Sendable {
        var archiveBytes = 2 << 30
        var ownerBytes = 8 << 30
        /// Left free on the file system.
        var freeBytes = 1 << 30
        /// What nobody has used for so long is removed.
        var unusedSeconds: Int64 = 7 * 86_400
    }

    private static let asidePrefix = ".new-"

    private let directory: String?
    private let limits: Limits
    /// Bytes of uploads under way, by owner.
    private let pending = Mutex<[String: Int]>([:])

    /// - Parameter directory: made if it is not there; what an earlier process has not finished there is removed. nil
    ///   takes no archives.
    init(directory: String?, limits: Limits = Limits()) throws {
        self.directory = directory
        self.limits = limits
        guard let directory else { return }
        try BuildFiles.makeDirectory(directory)
        for owner in BuildFiles.list(directory) {
            for name in BuildFiles.list("\(directory)/\(owner)") where name.hasPrefix(BuildFiles.asidePrefix) {
                unlink("\(directory)/\(owner)/\(name)")
            }
        }
    }

    static func isHash(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy { $0.isDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
    }

    /// Whether an archive is there.
    func has(_ hash: String, owner: String?) throws(MartletError) -> Bool {
        guard BuildFiles.isHash(hash) else { throw .invalid("hash", "is no SHA-256 in lower-case hex") }
        return access(try home(of: owner) + "/" + hash, F_OK) == 0
    }

    /// Takes in an archive, piece by piece; one that was there before is replaced once it is whole.
    ///
    /// - Parameters:
    ///   - announced: how many bytes are to come, if that is known.
    ///   - next: the next piece; nil at the end.
    /// - Throws: `invalid_argument` (hash, cut off, no archive), `too_large`, `resource_exhausted`.
    func receive(
        _ hash: String, owner: String?, announced: Int?, from next: () async throws -> [UInt8]?
    ) async throws {
        guard BuildFiles.isHash(hash) else { throw MartletError.invalid("hash", "is no SHA-256 in lower-case hex") }
        let home = try home(of: owner)
        if let announced { try check(announced) }
        let aside = "\(home)/\(BuildFiles.asidePrefix)\(RandomID.make(prefix: "u"))"
        var received = 0
        do {
            let file = try await NIOThreadPool.singleton.runIfActive {
                try BuildFiles.makeDirectory(home)
                return try Descriptor.open(aside, O_WRONLY | O_CREAT | O_EXCL)
            }
            defer { grow(home, by: -received) }
            while let piece = try await next() {
                if received == 0 { try BuildFiles.checkHead(piece) }
                received += piece.count
                grow(home, by: piece.count)
                try check(received)
                try await NIOThreadPool.singleton.runIfActive { [self] in
                    try checkSpace(home)
                    try file.writeAll(piece)
                }
            }
            if let announced, received < announced { throw MartletError.invalid("body", "was cut off") }
            guard received > 0 else { throw MartletError.invalid("body", "is empty") }
            try await NIOThreadPool.singleton.runIfActive {
                try file.synchronize()
                guard Glibc.rename(aside, "\(home)/\(hash)") == 0 else {
                    throw SystemError("rename", hash, errno: errno)
                }
            }
        } catch {
            unlink(aside)
            if let error = error as? SystemError, error.errno == ENOSPC { throw BuildFiles.full }
            throw error
        }
    }

    /// Opens an archive, which counts as used now.
    ///
    /// - Throws: `failed_precondition` when it was not sent, or is not kept any more.
    func open(_ hash: String, owner: String?) throws -> Descriptor {
        let path = try home(of: owner) + "/" + hash
        guard BuildFiles.isHash(hash), let file = try? Descriptor.open(path, O_RDONLY | O_NOFOLLOW) else {
            throw MartletError(
                .failedPrecondition,
                "COPY: the archive \(hash.printable(12))… was not uploaded, or is not kept any more")
        }
        _ = utimensat(AT_FDCWD, path, nil, 0)
        return file
    }

    /// Removes what nobody has used for long; blocks the thread.
    func prune() {
        guard let directory else { return }
        let oldest = Timestamp.now.adding(seconds: -limits.unusedSeconds).milliseconds
        for owner in BuildFiles.list(directory) {
            for file in archives(in: "\(directory)/\(owner)") where file.used < oldest { unlink(file.path) }
        }
    }

    private struct Archive {
        var path: String
        var bytes: Int
        /// Milliseconds since 1970.
        var used: Int64
    }

    /// What is kept in a directory, the longest unused first.
    private func archives(in home: String) -> [Archive] {
        BuildFiles.list(home).filter(BuildFiles.isHash).compactMap { name in
            let path = "\(home)/\(name)"
            guard let facts = try? FileManager.default.attributesOfItem(atPath: path),
                let bytes = facts[.size] as? UInt64, let used = facts[.modificationDate] as? Date
            else { return nil }
            return Archive(path: path, bytes: Int(clamping: bytes), used: Int64(used.timeIntervalSince1970 * 1000))
        }.sorted { $0.used < $1.used }
    }

    private static func list(_ path: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private static func makeDirectory(_ path: String) throws(SystemError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SystemError("mkdir", path, errno: errno) }
    }

    private func home(of owner: String?) throws(MartletError) -> String {
        guard let directory else { throw MartletError(.unsupported, "template builds: this server takes no archives") }
        let name = owner ?? "local"
        guard SandboxName(rawValue: name) != nil else { throw .invalid("owner", "is no key") }
        return "\(directory)/\(name)"
    }

    private func check(_ bytes: Int) throws(MartletError) {
        guard bytes <= limits.archiveBytes else {
            throw MartletError(
                .tooLarge, "body: an archive may have \(limits.archiveBytes) bytes at most",
                details: ["limit_bytes": "\(limits.archiveBytes)"])
        }
    }

    private func grow(_ home: String, by bytes: Int) { pending.withLock { $0[home, default: 0] += bytes } }

    /// That there is room for what is under way, for its owner and on the disk. What has waited longest makes room.
    private func checkSpace(_ home: String) throws {
        let incoming = pending.withLock { $0[home, default: 0] }
        var kept = archives(in: home)
        while kept.reduce(incoming, { $0 + $1.bytes }) > limits.ownerBytes, !kept.isEmpty {
            unlink(kept.removeFirst().path)
        }
        var space = statvfs()
        guard statvfs(home, &space) == 0 else { throw SystemError("statvfs", home, errno: errno) }
        guard Int(space.f_bavail) * Int(space.f_frsize) > limits.freeBytes else { throw BuildFiles.full }
    }

    private static var full: MartletError {
        MartletError(.resourceExhausted, "body: the data disk is full: free some space on it and try again")
    }

    /// An archive as tar makes it, compressed by gzip or not: what is something else is told of before it is stored.
    private static func checkHead(_ bytes: [UInt8]) throws(MartletError) {
        let isTar = bytes.count >= 262 && Array(bytes[257..<262]) == Array("ustar".utf8)
        guard isTar || bytes.starts(with: BuildFiles.gzip) || bytes.count < 262 else {
            throw .invalid("body", "is neither a tar archive nor one compressed by gzip")
        }
    }

    static let gzip: [UInt8] = [0x1F, 0x8B]
}
