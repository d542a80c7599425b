import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Tells what happens to a directory (with all below it, if wanted) or a file.
///
/// A file is watched through its directory: most programs replace a file rather than write into it.
final class FileWatchStream: AgentStream {
    /// Events held for a host that does not read; beyond, they stay in the kernel, which says when it drops some.
    private static let mostEvents = 256

    private let loop: EventLoop
    private let inotify: Descriptor
    private let tree: WatchedTree
    /// The one name of interest in a directory watched for a file's sake.
    private let onlyName: String?
    private var watch: Watch?
    private var events: [FileEvent] = []
    private var firstEvent = 0
    /// A move out of a watched directory whose other half has not been seen yet.
    private var departed: (cookie: UInt32, path: String, isDirectory: Bool)?
    private var departedTimer: LoopTimer?

    init(
        number: UInt32, window: UInt32, transport: Transport, loop: EventLoop, request: WatchFiles
    ) throws(GuestFailure) {
        let path = FilePath.trimmed(try FilePath.check(request.path))
        var info = stat()
        guard stat(path, &info) == 0 else { throw GuestFailure(path: path, errno: errno) }
        let created = clinux_inotify_create()
        guard created >= 0 else { throw GuestFailure(path: path, errno: -created) }
        inotify = Descriptor(owning: created)
        self.loop = loop
        let isDirectory = info.st_mode & S_IFMT == S_IFDIR
        onlyName = isDirectory ? nil : FilePath.name(of: path)
        tree = WatchedTree(inotify: created, isRecursive: isDirectory && request.recursive)
        super.init(number: number, window: window, transport: transport)
        let error = tree.add(isDirectory ? path : FilePath.parent(of: path)) { _ in }
        if error != 0 {
            // The kernel says "no space" for "no more watches".
            if error == ENOSPC { throw GuestFailure(.limitReached, errno: error, "\(path): too many watches") }
            throw GuestFailure(path: path, errno: error)
        }
    }

    func start() throws(GuestFailure) {
        do throws(SystemError) {
            watch = try loop.watch(inotify.number, UInt32(CLINUX_EVENT_READ)) { [unowned self] _ in readEvents() }
        } catch {
            throw GuestFailure(error)
        }
        reply([])
        if tree.isIncomplete { add(FileEvent(kind: .overflow, path: "")) }
    }

    /// An event goes out whole, so it waits until all of it fits what the host granted.
    override var hasOutput: Bool { firstEvent < events.count && credit >= events[firstEvent].encodedLength }

    override func produce(into output: inout [UInt8]) {
        let payload = events[firstEvent].encoded
        Frame(stream: number, kind: .data, payload: payload).encode(into: &output)
        spendCredit(payload.count)
        firstEvent += 1
        if firstEvent == events.count {
            events = []
            firstEvent = 0
            readEvents()
        }
    }

    override func closed() {
        departedTimer?.cancel()
        watch?.stop()
        watch = nil
    }

    // MARK: Events

    private func readEvents() {
        while isOpen, events.count - firstEvent < FileWatchStream.mostEvents {
            let count = clinux_read(inotify.number, loop.scratch.baseAddress, 4096)
            guard count > 0 else { break }
            var position = 0
            let bytes = UnsafeRawBufferPointer(rebasing: loop.scratch[0..<count])
            var found: [KernelFileEvent] = []
            while let event = KernelFileEvent(bytes, at: &position) { found.append(event) }
            for event in found { take(event) }
        }
        pauseOrResume()
        if departed != nil, departedTimer == nil {
            // The other half of a move is queued right behind the first; what has not come soon will not come.
            departedTimer = loop.after(milliseconds: 10) { [unowned self] in
                departedTimer = nil
                flushDeparted()
                transport.markReady(self)
            }
        }
        transport.markReady(self)
    }

    private func pauseOrResume() {
        let isFull = events.count - firstEvent >= FileWatchStream.mostEvents
        if isFull {
            watch?.stop()
            watch = nil
        } else if watch == nil, isOpen {
            watch = try? loop.watch(inotify.number, UInt32(CLINUX_EVENT_READ)) { [unowned self] _ in readEvents() }
        }
    }

    private func take(_ event: KernelFileEvent) {
        if event.has(IN_Q_OVERFLOW) { return add(FileEvent(kind: .overflow, path: "")) }
        if event.has(IN_IGNORED) { return tree.forget(event.watch) }
        guard let directory = tree.path(of: event.watch) else { return }
        if event.has(IN_DELETE_SELF) {
            // Below the root its parent tells; the root has no parent that is watched.
            if tree.isRoot(event.watch), onlyName == nil {
                add(FileEvent(kind: .removed, path: directory, isDirectory: true))
            }
            return
        }
        let path = event.name.isEmpty ? directory : FilePath.join(directory, event.name)
        let isDirectory = event.has(IN_ISDIR) || event.name.isEmpty
        let joins = event.has(IN_MOVED_TO) && departed?.cookie == event.cookie
        if !joins { flushDeparted() }
        if event.has(IN_MOVED_FROM) {
            departed = (event.cookie, path, isDirectory)
        } else if event.has(IN_MOVED_TO) {
            if joins, let old = departed { moved(old.path, to: path, isDirectory) } else { appeared(path, isDirectory) }
        } else if event.has(IN_CREATE) {
            appeared(path, isDirectory)
        } else if event.has(IN_DELETE) {
            add(FileEvent(kind: .removed, path: path, isDirectory: isDirectory))
        } else if event.has(IN_MODIFY) {
            add(FileEvent(kind: .modified, path: path, isDirectory: isDirectory))
        } else if event.has(IN_ATTRIB) {
            add(FileEvent(kind: .attributes, path: path, isDirectory: isDirectory))
        }
    }

    private func moved(_ old: String, to path: String, _ isDirectory: Bool) {
        departed = nil
        departedTimer?.cancel()
        departedTimer = nil
        if isDirectory { tree.rename(old, to: path) }
        add(FileEvent(kind: .renamed, path: old, destination: path, isDirectory: isDirectory))
    }

    private func appeared(_ path: String, _ isDirectory: Bool) {
        if tree.takeReported(path) { return }
        add(FileEvent(kind: .created, path: path, isDirectory: isDirectory))
        guard isDirectory, tree.isRecursive else { return }
        // What was put inside before the watch held is told from a look; the kernel may tell some of it again.
        let error = tree.add(path) { [self] entry in
            add(FileEvent(kind: .created, path: entry.path, isDirectory: entry.isDirectory))
        }
        if error == ENOSPC || tree.isIncomplete { add(FileEvent(kind: .overflow, path: path)) }
    }

    private func flushDeparted() {
        guard let old = departed else { return }
        departed = nil
        if old.isDirectory { tree.remove(old.path) }
        add(FileEvent(kind: .removed, path: old.path, isDirectory: old.isDirectory))
    }

    private func add(_ event: FileEvent) {
        if let onlyName, event.kind != .overflow {
            let from = FilePath.name(of: event.path) == onlyName
            let to = event.kind == .renamed && FilePath.name(of: event.destination) == onlyName
            guard from || to else { return }
            // Renamed over the file: to its watcher the file was made anew.
            if !from { return events.append(FileEvent(kind: .created, path: event.destination)) }
        }
        if events.count > firstEvent, events.last == event { return }
        events.append(event)
    }
}

/// One event as the kernel lays it out.
private struct KernelFileEvent {
    let watch: Int32
    let mask: UInt32
    let cookie: UInt32
    let name: String

    init?(_ bytes: UnsafeRawBufferPointer, at position: inout Int) {
        guard position + 16 <= bytes.count else { return nil }
        watch = bytes.loadUnaligned(fromByteOffset: position, as: Int32.self)
        mask = bytes.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self)
        cookie = bytes.loadUnaligned(fromByteOffset: position + 8, as: UInt32.self)
        let length = Int(bytes.loadUnaligned(fromByteOffset: position + 12, as: UInt32.self))
        guard position + 16 + length <= bytes.count else { return nil }
        let text = bytes[(position + 16)..<(position + 16 + length)]
        name = String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
        position += 16 + length
    }

    func has(_ bit: some BinaryInteger) -> Bool { mask & UInt32(truncatingIfNeeded: bit) != 0 }
}
