import Glibc
import GuestProtocol
import LinuxSystem

extension GuestFailure {
    /// The kernel's words for an error number.
    static func text(_ errno: Int32) -> String { String(cString: strerror(errno)) }

    /// A failure of a file operation on `path`.
    init(path: String, errno: Int32) {
        self.init(GuestFailure.code(for: errno), errno: errno, "\(path): \(GuestFailure.text(errno))")
    }

    init(_ error: SystemError) {
        self.init(path: error.object, errno: error.errno)
    }

    private static func code(for errno: Int32) -> Code {
        switch errno {
        case ENOENT: .notFound
        case EACCES, EPERM, EROFS: .permissionDenied
        case EEXIST: .alreadyExists
        case ENOTDIR: .notDirectory
        case EISDIR: .isDirectory
        case ENOTEMPTY: .notEmpty
        case ENOSPC, EDQUOT, EFBIG: .noSpace
        case EMFILE, ENFILE, ENOMEM, EAGAIN, EMLINK: .limitReached
        case EINVAL, ENAMETOOLONG, ELOOP, EBUSY, ETXTBSY: .invalidArgument
        case EXDEV, EOPNOTSUPP, ENOSYS: .unsupported
        case ESRCH: .processExited
        default: .internal
        }
    }
}
