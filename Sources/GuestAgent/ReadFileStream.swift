import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Sends a file's bytes as fast as the host gives credit for them.
final class ReadFileStream: AgentStream {
    private let file: Descriptor
    private let path: String
    private let scratch: UnsafeMutableRawBufferPointer
    private let info: FileInfo
    private var offset: UInt64
    private var left: UInt64

    init(
        number: UInt32, window: UInt32, transport: Transport, loop: EventLoop, request: ReadFile
    ) throws(GuestFailure) {
        path = try FilePath.check(request.path)
        // Without O_NONBLOCK a named pipe would hold the agent until someone writes to it.
        let opened = clinux_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)
        guard opened >= 0 else { throw GuestFailure(path: path, errno: -opened) }
        file = Descriptor(owning: opened)
        var facts = stat()
        guard fstat(opened, &facts) == 0 else { throw GuestFailure(path: path, errno: errno) }
        guard facts.st_mode & S_IFMT == S_IFREG else {
            if facts.st_mode & S_IFMT == S_IFDIR { throw GuestFailure(path: path, errno: EISDIR) }
            throw GuestFailure(.invalidArgument, "\(path): not a regular file")
        }
        info = FileInfo(path: path, facts)
        scratch = loop.scratch
        offset = request.offset
        left = offset > UInt64(Int64.max) ? 0 : min(request.length, UInt64(Int64.max) - offset)
        super.init(number: number, window: window, transport: transport)
    }

    func start() {
        reply(info.encoded)
        if left == 0 { finish() } else { transport.markReady(self) }
    }

    override var hasOutput: Bool { credit > 0 }

    override func produce(into output: inout [UInt8]) {
        let wanted = Int(min(UInt64(min(credit, Frame.dataChunk)), left))
        // Not all file systems tell a size (/proc): the end is where a read gives nothing.
        let count = clinux_pread(file.number, scratch.baseAddress, wanted, off_t(offset))
        guard count >= 0 else { return fail(GuestFailure(path: path, errno: Int32(-count))) }
        if count > 0 {
            let bytes = UnsafeRawBufferPointer(rebasing: scratch[0..<count])
            Frame.encode(stream: number, kind: .data, flags: 0, into: &output) { $0.append(contentsOf: bytes) }
            spendCredit(count)
            offset += UInt64(count)
            left -= UInt64(count)
        }
        if count == 0 || left == 0 { finish() }
    }
}
