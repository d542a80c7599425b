import SandboxModel

/// Where a Martlet server listens.
public enum Endpoint: Sendable, Hashable, CustomStringConvertible {
    /// A unix socket: the daemon of this machine, which knows its user without a key.
    case unixSocket(path: String)
    /// An `http` or `https` address, without a slash at its end.
    case url(String)

    /// Reads `http://host:port`, `https://host`, `unix:///path` or an absolute path.
    ///
    /// - Throws: `invalid_argument` saying what was expected.
    public init(parsing text: String) throws(MartletError) {
        if text.hasPrefix("/") {
            self = .unixSocket(path: text)
        } else if text.hasPrefix("unix://") {
            let path = String(text.dropFirst("unix://".count))
            guard path.hasPrefix("/") else {
                throw .invalid("url", "a unix socket needs an absolute path, as in unix:///run/martlet/api.sock")
            }
            self = .unixSocket(path: path)
        } else if text.hasPrefix("http://") || text.hasPrefix("https://") {
            var trimmed = Substring(text)
            while trimmed.hasSuffix("/") { trimmed = trimmed.dropLast() }
            guard let host = trimmed.split(separator: "/").dropFirst().first, !host.isEmpty, !host.hasPrefix(":") else {
                throw .invalid("url", "'\(text)' names no host")
            }
            self = .url(String(trimmed))
        } else {
            throw .invalid("url", "'\(text)' is not http://host:port, https://host or unix:///path")
        }
    }

    public var description: String {
        switch self {
        case .unixSocket(let path): "unix://" + path
        case .url(let url): url
        }
    }
}
