import Glibc
import GuestProtocol

/// Checks and pieces of the paths the host sends.
enum FilePath {
    /// The path, if it is one the kernel can be given.
    static func check(_ path: String) throws(GuestFailure) -> String {
        guard path.hasPrefix("/") else { throw GuestFailure(.invalidArgument, "\(path.prefix(256)): not absolute") }
        guard path.utf8.count < Int(PATH_MAX) else {
            throw GuestFailure(.invalidArgument, errno: ENAMETOOLONG, "\(path.prefix(256))…: the path is too long")
        }
        guard !path.utf8.contains(0) else { throw GuestFailure(.invalidArgument, "the path holds a zero byte") }
        return path
    }

    /// The path without slashes at its end.
    static func trimmed(_ path: String) -> String {
        var text = path[...]
        while text.count > 1, text.hasSuffix("/") { text.removeLast() }
        return String(text)
    }

    /// The directory that holds the path's last component.
    static func parent(of path: String) -> String {
        let text = trimmed(path)
        guard let slash = text.lastIndex(of: "/"), slash != text.startIndex else { return "/" }
        return String(text[..<slash])
    }

    static func name(of path: String) -> String {
        let text = trimmed(path)
        return text.lastIndex(of: "/").map { String(text[text.index(after: $0)...]) } ?? text
    }

    static func join(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }
}
