import Glibc

/// A system call that failed: which, on what, and the kernel's error number.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    public var call: String
    public var object: String
    public var errno: Int32

    public init(_ call: String, _ object: String, errno: Int32) {
        self.call = call
        self.object = object
        self.errno = errno
    }

    public var description: String { "\(call): \(object): \(String(cString: strerror(errno)))" }

    /// Passes a result of the C shims through, or throws what a negative one says.
    @discardableResult
    package static func check<T: SignedInteger>(
        _ result: T, _ call: String, _ object: @autoclosure () -> String = ""
    ) throws(SystemError) -> T {
        guard result < 0 else { return result }
        throw SystemError(call, object(), errno: Int32(truncatingIfNeeded: -result))
    }
}
