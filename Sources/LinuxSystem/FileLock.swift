import CLinux
import Glibc

/// An exclusive lock on a file, which the kernel drops when the last holder of its descriptor is gone.
public final class FileLock: Sendable {
    /// The locked file; a child process that is given it shares the lock.
    public let descriptor: Descriptor

    private init(descriptor: Descriptor) { self.descriptor = descriptor }

    /// Takes the lock if it is free; nil if somebody has it.
    public static func attempt(_ path: String) throws(SystemError) -> FileLock? {
        let descriptor = try Descriptor.open(path, O_RDWR | O_CREAT)
        let result = clinux_flock(descriptor.number, 1, 0)
        if result == -EWOULDBLOCK { return nil }
        try SystemError.check(result, "flock", path)
        return FileLock(descriptor: descriptor)
    }

    /// Takes the lock; blocks the thread as long as somebody else has it.
    public static func wait(_ path: String) throws(SystemError) -> FileLock {
        let descriptor = try Descriptor.open(path, O_RDWR | O_CREAT)
        var result: Int32
        repeat { result = Int32(clinux_flock(descriptor.number, 1, 1)) } while result == -EINTR
        try SystemError.check(result, "flock", path)
        return FileLock(descriptor: descriptor)
    }

    /// Takes over a lock together with a descriptor that a parent process handed down.
    public init(inherited number: Int32) { descriptor = Descriptor(owning: number) }

    /// Lets go of the lock now, unless another process shares it.
    public func release() { descriptor.close() }
}
