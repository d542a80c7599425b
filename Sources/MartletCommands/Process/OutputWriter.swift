import Dispatch
import Glibc
import LinuxSystem

/// One of our own outputs, written in order and without holding up the threads that run async code.
final class OutputWriter: Sendable {
    static let standardOutput = OutputWriter(1)
    static let standardError = OutputWriter(2)

    private let number: Int32
    private let queue: DispatchQueue

    private init(_ number: Int32) {
        self.number = number
        queue = DispatchQueue(label: "output \(number)")
    }

    /// Writes all bytes; returns when they are written.
    ///
    /// - Throws: `EPIPE` when nobody reads any more.
    func write(_ bytes: [UInt8]) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            queue.async { continuation.resume(with: Result { try self.writeNow(bytes) }) }
        }
    }

    private func writeNow(_ bytes: [UInt8]) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(number, $0.baseAddress, $0.count) }
            if count >= 0 {
                offset += count
            } else if errno == EAGAIN {
                // Somebody else made the terminal or pipe we share non-blocking.
                var ready = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
            } else if errno != EINTR {
                throw SystemError("write", number == 1 ? "standard output" : "standard error", errno: errno)
            }
        }
    }
}
