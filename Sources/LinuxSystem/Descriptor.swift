import CLinux
import Glibc
import Synchronization

/// An owned file descriptor, always close-on-exec, closed when the last reference goes.
public final class Descriptor: Sendable {
    /// The number; valid as long as this object lives and `release` was not called.
    public let number: Int32
    private let owned: OwnedFlag

    /// Takes ownership of an open descriptor.
    public init(owning number: Int32) {
        self.number = number
        owned = OwnedFlag()
    }

    deinit {
        if owned.take() { Glibc.close(number) }
    }

    /// Gives the number away: the caller closes it from now on.
    public func release() -> Int32 {
        _ = owned.take()
        return number
    }

    /// Closes now instead of at the last reference.
    public func close() {
        if owned.take() { Glibc.close(number) }
    }

    /// Opens a path.
    ///
    /// - Parameters:
    ///   - flags: `O_*`; `O_CLOEXEC` is always added.
    ///   - mode: permission bits of a file that is created.
    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0o600) throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_open(path, flags, mode), "open", path))
    }

    /// Writes all bytes, waiting as long as the descriptor needs.
    public func writeAll(_ bytes: [UInt8]) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { buffer in
                clinux_write(number, buffer.baseAddress! + offset, buffer.count - offset)
            }
            offset += Int(try SystemError.check(written, "write", "descriptor \(number)"))
        }
    }

    /// Reads up to `count` bytes; empty at the end.
    public func read(upTo count: Int) throws(SystemError) -> [UInt8] {
        var failure = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let got = clinux_read(number, buffer.baseAddress, count)
            filled = max(0, got)
            failure = min(0, got)
        }
        try SystemError.check(failure, "read", "descriptor \(number)")
        return bytes
    }

    /// Reads up to `count` bytes from an offset; empty at the end.
    public func read(upTo count: Int, at offset: UInt64) throws(SystemError) -> [UInt8] {
        var failure = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let got = clinux_pread(number, buffer.baseAddress, count, off_t(offset))
            filled = max(0, got)
            failure = min(0, got)
        }
        try SystemError.check(failure, "read", "descriptor \(number)")
        return bytes
    }

    /// Writes all bytes from an offset on.
    public func writeAll(_ bytes: [UInt8], at offset: UInt64) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let written = bytes.withUnsafeBytes { buffer in
                clinux_pwrite(number, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            }
            done += Int(try SystemError.check(written, "write", "descriptor \(number)"))
        }
    }

    /// Reads everything up to the end, but no more than `limit` bytes.
    public func readAll(limit: Int = 16 << 20) throws(SystemError) -> [UInt8] {
        var all: [UInt8] = []
        while all.count < limit {
            let piece = try read(upTo: min(65_536, limit - all.count))
            if piece.isEmpty { break }
            all.append(contentsOf: piece)
        }
        return all
    }

    /// Makes reads and writes return at once instead of waiting.
    public func setNonBlocking() throws(SystemError) {
        try SystemError.check(clinux_set_nonblocking(number, 1), "fcntl", "descriptor \(number)")
    }

    /// Waits until what was written is on the disk.
    public func synchronize() throws(SystemError) {
        try SystemError.check(clinux_fsync(number), "fsync", "descriptor \(number)")
    }
}

/// Whether a descriptor is still ours to close; atomic, so that two threads cannot close it twice.
private final class OwnedFlag: Sendable {
    private let value = Atomic<Bool>(true)
    func take() -> Bool { value.exchange(false, ordering: .acquiringAndReleasing) }
}
