import CLinux
import Glibc
import LinuxSystem
import Synchronization

/// What a guest writes on its serial port: held by a pipe until somebody looks, and then by us, both of a bounded size.
///
/// Neither end ever waits: what does not fit into the pipe is lost, or a guest that writes without end would fill the host's
/// memory, or stand still until somebody looks.
final class ConsolePipe: Sendable {
    /// As much as a pipe holds, and as is kept.
    private static let bytes = 65_536

    private let source: Descriptor
    private let log = Mutex<[UInt8]>([])

    private init(source: Descriptor) { self.source = source }

    /// Makes a pipe, and the end a process is started with.
    static func make() throws(SystemError) -> (ConsolePipe, Descriptor) {
        var ends: [Int32] = [0, 0]
        try SystemError.check(clinux_pipe(&ends, 0), "pipe")
        let (source, end) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        try source.setNonBlocking()
        try end.setNonBlocking()
        return (ConsolePipe(source: source), end)
    }

    /// Looks into the pipe a process was started with by an earlier daemon.
    convenience init(of pid: pid_t) throws(SystemError) {
        self.init(source: try Descriptor.open("/proc/\(pid)/fd/1", O_RDONLY | O_NONBLOCK))
    }

    /// The end of all that was written.
    func read() -> [UInt8] {
        log.withLock { log in
            while let piece = try? source.read(upTo: ConsolePipe.bytes), !piece.isEmpty { log += piece }
            if log.count > ConsolePipe.bytes { log.removeFirst(log.count - ConsolePipe.bytes) }
            return log
        }
    }
}
