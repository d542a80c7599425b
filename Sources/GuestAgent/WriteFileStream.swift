import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Takes a file's bytes into a new file beside the old one, which it replaces at the end.
final class WriteFileStream: AgentStream {
    private let path: String
    private let temporary: String
    private var file: Descriptor?

    init(
        number: UInt32, transport: Transport, users: Users, request: WriteFile
    ) throws(GuestFailure) {
        let asked = try FilePath.check(request.path)
        guard !asked.hasSuffix("/") else { throw GuestFailure(path: asked, errno: EISDIR) }
        var owner = request.owner.isEmpty ? nil : try users.owner(request.owner)
        path = WriteFileStream.resolved(asked)
        var old = stat()
        var mode = request.mode ?? 0o644
        if stat(path, &old) == 0 {
            switch old.st_mode & S_IFMT {
            case S_IFREG: break
            case S_IFDIR: throw GuestFailure(path: asked, errno: EISDIR)
            default: throw GuestFailure(.invalidArgument, "\(asked): not a regular file")
            }
            mode = request.mode ?? old.st_mode & 0o7777
            owner = owner ?? (old.st_uid, old.st_gid)
        } else {
            try FileService.makeParents(of: path, owner: owner)
        }
        let directory = FilePath.parent(of: path)
        // Named after what no other file can have: this stream of this agent, and a number no one can foresee.
        temporary = FilePath.join(directory, ".martlet-\(UInt64.random(in: .min ... .max))")
        let opened = clinux_open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
        guard opened >= 0 else { throw GuestFailure(path: asked, errno: -opened) }
        file = Descriptor(owning: opened)
        var failed: Int32 = 0
        // The owner first: changing it takes the set-user-id bits off.
        if let owner, fchown(opened, owner.uid, owner.gid) != 0 { failed = errno }
        if failed == 0, fchmod(opened, mode & 0o7777) != 0 { failed = errno }
        if failed == 0 { failed = FileLabelStore.set(request.labels, on: opened) }
        super.init(number: number, window: 0, transport: transport)
        if failed != 0 {
            discard()
            throw GuestFailure(path: asked, errno: failed)
        }
    }

    func start() { grant(AgentStream.inputWindow) }

    override func receive(_ bytes: [UInt8]) {
        guard let file else { return }
        do throws(SystemError) {
            try file.writeAll(bytes)
            consumed(bytes.count)
        } catch {
            fail(GuestFailure(path: path, errno: error.errno))
        }
    }

    override func inputEnded() {
        let result = clinux_rename(temporary, path)
        guard result == 0 else { return fail(GuestFailure(path: path, errno: -result)) }
        file = nil
        do throws(GuestFailure) {
            finish(try FileInfo.readWithLabels(path).withLabels)
        } catch {
            fail(error)
        }
    }

    override func closed() { discard() }

    private func discard() {
        guard file != nil else { return }
        file = nil
        unlink(temporary)
    }

    /// Where a link points, so that writing through it replaces the file and keeps the link.
    private static func resolved(_ path: String) -> String {
        var info = stat()
        guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFLNK, let whole = realpath(path, nil) else {
            return path
        }
        defer { free(whole) }
        return String(cString: whole)
    }
}
