import Dispatch
import Glibc
import LinuxSystem

/// Our own standard input, read piece by piece as it comes; a wait for more can be cancelled.
final class StandardInput: Sendable {
    private let queue = DispatchQueue(label: "input")
    /// Written to when the reader is cancelled, so that the thread that waits wakes up.
    private let wakeRead: Descriptor
    private let wakeWrite: Descriptor
    private static let pieceBytes = 65_536

    init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("pipe", "standard input", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        wakeRead = Descriptor(owning: ends[0])
        wakeWrite = Descriptor(owning: ends[1])
    }

    /// Whether standard input is /dev/null: nothing will ever come, and nobody need be asked.
    static var isNull: Bool {
        var (input, null) = (stat(), stat())
        guard fstat(0, &input) == 0, stat("/dev/null", &null) == 0 else { return true }
        return input.st_mode & S_IFMT == S_IFCHR && input.st_rdev == null.st_rdev
    }

    /// The next bytes; nil at the end and after a cancellation.
    func next() async throws -> [UInt8]? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                queue.async { continuation.resume(with: Result { try self.read() }) }
            }
        } onCancel: {
            _ = Glibc.write(wakeWrite.number, [0], 1)
        }
    }

    private func read() throws(SystemError) -> [UInt8]? {
        while true {
            var ready = [
                pollfd(fd: 0, events: Int16(POLLIN), revents: 0),
                pollfd(fd: wakeRead.number, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&ready, 2, -1)
            if count < 0 {
                if errno == EINTR { continue }
                throw SystemError("poll", "standard input", errno: errno)
            }
            if ready[1].revents != 0 { return nil }
            guard ready[0].revents != 0 else { continue }
            var failure: Int32 = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: Self.pieceBytes) { buffer, filled in
                let got = Glibc.read(0, buffer.baseAddress, buffer.count)
                failure = got < 0 ? errno : 0
                filled = max(0, got)
            }
            if failure == EAGAIN || failure == EINTR { continue }
            // A background job's terminal, or a terminal that has gone away: there is nothing more to read.
            if failure == EIO || failure == EBADF { return nil }
            guard failure == 0 else { throw SystemError("read", "standard input", errno: failure) }
            return bytes.isEmpty ? nil : bytes
        }
    }
}
