import SandboxModel

/// Paths inside a sandbox as clients give them. Whatever they name, it is in the guest: the host never opens them.
enum GuestPath {
    static let maxBytes = 4096

    /// The path without `.`, `..` and doubled slashes.
    ///
    /// - Throws: `invalid_argument` for a path that is relative, too long, holds a NUL or climbs above `/`.
    static func checked(_ path: String, field: String = "path") throws(MartletError) -> String {
        guard path.utf8.count <= maxBytes else { throw .invalid(field, "is longer than \(maxBytes) bytes") }
        guard !path.utf8.contains(0) else { throw .invalid(field, "holds a NUL byte") }
        guard path.utf8.first == UInt8(ascii: "/") else {
            throw .invalid(field, "must be absolute, such as /root/file")
        }
        var components: [Substring.UTF8View] = []
        for component in path.utf8.split(separator: UInt8(ascii: "/")) {
            if component.elementsEqual(".".utf8) { continue }
            if component.elementsEqual("..".utf8) {
                guard components.popLast() != nil else { throw .invalid(field, "climbs out above /") }
                continue
            }
            components.append(component)
        }
        return "/" + components.map { String(Substring($0)) }.joined(separator: "/")
    }

    /// A path below a directory of the guest's own telling.
    static func join(_ directory: String, _ relative: String) -> String {
        if relative.utf8.first == UInt8(ascii: "/") { return relative }
        return directory == "/" ? "/" + relative : directory + "/" + relative
    }
}
