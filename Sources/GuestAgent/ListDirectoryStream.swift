import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Sends a directory's entries, or the labels of those that have any, as it reads them, so that a directory of any size
/// needs no memory.
final class ListDirectoryStream: AgentStream {
    /// Deepest nesting followed; one descriptor is open for each level.
    private static let deepest: UInt32 = 128

    private struct Level {
        var reader: DirectoryReader
        var prefix: String
    }

    private let depth: Int
    private let tellsLabels: Bool
    private var levels: [Level] = []
    /// An entry that did not fit into the last frame.
    private var pending: [UInt8] = []

    init(
        number: UInt32, window: UInt32, transport: Transport, request: ListDirectory, tellsLabels: Bool = false
    ) throws(GuestFailure) {
        self.tellsLabels = tellsLabels
        let path = try FilePath.check(request.path)
        depth = Int(min(max(1, request.depth), ListDirectoryStream.deepest))
        let opened = clinux_open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0)
        guard opened >= 0 else { throw GuestFailure(path: path, errno: -opened) }
        guard let reader = DirectoryReader(Descriptor(owning: opened)) else {
            throw GuestFailure(path: path, errno: ENOMEM)
        }
        super.init(number: number, window: window, transport: transport)
        levels.append(Level(reader: reader, prefix: ""))
    }

    override var hasOutput: Bool { credit >= max(1, pending.count) }

    override func produce(into output: inout [UInt8]) {
        if pending.isEmpty { pending = nextPiece() ?? [] }
        let limit = min(credit, Frame.dataChunk)
        var sent = 0
        if !pending.isEmpty, pending.count <= limit {
            Frame.encode(stream: number, kind: .data, flags: 0, into: &output) { bytes in
                while !pending.isEmpty, pending.count <= limit - sent {
                    bytes.append(contentsOf: pending)
                    sent += pending.count
                    pending = nextPiece() ?? []
                }
            }
            spendCredit(sent)
        }
        if pending.isEmpty { finish() }
    }

    private func nextPiece() -> [UInt8]? {
        guard tellsLabels else { return nextEntry()?.encoded }
        while let info = nextEntry() {
            guard !info.labels.isEmpty else { continue }
            let piece = FileLabels(path: info.path, labels: info.labels).encoded
            if piece.count <= Frame.dataChunk { return piece }
        }
        return nil
    }

    private func nextEntry() -> FileInfo? {
        while let level = levels.last {
            guard level.reader.advance(), let name = level.reader.entryName else {
                levels.removeLast()
                continue
            }
            let path = level.prefix + String(cString: name)
            guard var info = FileInfo.read(in: level.reader.descriptor, name, path: path) else { continue }
            if tellsLabels { info.labels = FileLabelStore.labels(in: level.reader.descriptor, name, info.kind) }
            if info.kind == .directory, levels.count < depth { descend(level.reader, name, path) }
            // Names nested so deeply that they fill a frame: the entry cannot be told, what is beside it can.
            if path.utf8.count + info.target.utf8.count > Frame.dataChunk - 64 { continue }
            return info
        }
        return nil
    }

    private func descend(_ reader: DirectoryReader, _ name: UnsafePointer<CChar>, _ path: String) {
        let opened = clinux_openat(reader.descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0)
        guard opened >= 0, let inner = DirectoryReader(Descriptor(owning: opened)) else { return }
        levels.append(Level(reader: inner, prefix: path + "/"))
    }

    override func closed() { levels = [] }
}
