import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Removes a tree a bit at a time, so that the agent goes on answering while a large one goes.
final class RemoveStream: AgentStream {
    /// Deepest nesting removed; one descriptor is open for each level.
    private static let deepest = 512
    private static let entriesPerStep = 256

    private struct Level {
        var reader: DirectoryReader
        var path: String
        /// Its name in the level above, as the kernel has it.
        var name: [CChar]
    }

    private let path: String
    private var levels: [Level] = []
    private unowned let loop: EventLoop
    private var timer: LoopTimer?

    init(number: UInt32, transport: Transport, loop: EventLoop, path: String) throws(GuestFailure) {
        self.path = FilePath.trimmed(try FilePath.check(path))
        self.loop = loop
        guard self.path != "/" else { throw GuestFailure(.invalidArgument, "/: cannot be removed") }
        let opened = clinux_open(self.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0)
        guard opened >= 0 else { throw GuestFailure(path: path, errno: -opened) }
        guard let reader = DirectoryReader(Descriptor(owning: opened)) else {
            throw GuestFailure(path: path, errno: ENOMEM)
        }
        super.init(number: number, window: 0, transport: transport)
        levels.append(Level(reader: reader, path: self.path, name: []))
    }

    /// Does the next part, and arranges for the one after it.
    func step() {
        for _ in 0..<RemoveStream.entriesPerStep {
            do throws(GuestFailure) {
                try removeNext()
            } catch {
                return fail(error)
            }
            if levels.isEmpty { return finish() }
        }
        timer = loop.after(milliseconds: 0) { [unowned self] in step() }
    }

    private func removeNext() throws(GuestFailure) {
        guard let level = levels.last else { return }
        guard level.reader.advance(), let name = level.reader.entryName else { return try leave(level) }
        if unlinkat(level.reader.descriptor, name, 0) == 0 { return }
        let code = errno
        let inner = FilePath.join(level.path, String(cString: name))
        guard code == EISDIR || code == EPERM else {
            // Gone already is what was wanted.
            if code != ENOENT { throw GuestFailure(path: inner, errno: code) }
            return
        }
        if unlinkat(level.reader.descriptor, name, AT_REMOVEDIR) == 0 { return }
        guard levels.count < RemoveStream.deepest else {
            throw GuestFailure(.limitReached, "\(inner): nested too deeply")
        }
        let opened = clinux_openat(level.reader.descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
        guard opened >= 0 else { throw GuestFailure(path: inner, errno: opened == -ENOTDIR ? code : -opened) }
        guard let reader = DirectoryReader(Descriptor(owning: opened)) else {
            throw GuestFailure(path: inner, errno: ENOMEM)
        }
        let bytes = Array(UnsafeBufferPointer(start: name, count: strlen(name) + 1))
        levels.append(Level(reader: reader, path: inner, name: bytes))
    }

    private func leave(_ level: Level) throws(GuestFailure) {
        levels.removeLast()
        let failed: Int32
        if let above = levels.last {
            failed = unlinkat(above.reader.descriptor, level.name, AT_REMOVEDIR) == 0 ? 0 : errno
        } else {
            failed = rmdir(level.path) == 0 ? 0 : errno
        }
        // Something new was put in meanwhile: an answer that says so is better than a race without end.
        if failed != 0, failed != ENOENT { throw GuestFailure(path: level.path, errno: failed) }
    }

    override func closed() {
        timer?.cancel()
        levels = []
    }
}
