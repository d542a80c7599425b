import Glibc
import SandboxModel

/// Which server a client talks to, as whom, and how patiently.
public struct ClientConfiguration: Sendable {
    /// Where the server listens.
    public var endpoint: Endpoint
    /// The API key; a daemon's own unix socket needs none.
    public var apiKey: String?
    /// How long a connection may take to come about.
    public var connectTimeout: Duration = .seconds(5)
    /// For how long a broken output stream is taken up again before it is an error.
    public var reconnectTimeout: Duration = .seconds(30)

    /// Makes a configuration for one server.
    public init(endpoint: Endpoint, apiKey: String? = nil) {
        self.endpoint = endpoint
        self.apiKey = apiKey
    }

    /// Reads `MARTLET_URL`, `MARTLET_API_KEY` and `MARTLET_DATA`.
    ///
    /// Without an address it is the local daemon's unix socket. With one but without a key, the local daemon's key is
    /// used if this user may read it and the address is this machine's own.
    ///
    /// - Throws: `invalid_argument` when `MARTLET_URL` is not an address.
    public init(environment: [String: String]) throws(MartletError) {
        let data = DataDirectory(environment: environment)
        let key = environment["MARTLET_API_KEY"].flatMap { $0.isEmpty ? nil : $0 }
        guard let url = environment["MARTLET_URL"], !url.isEmpty else {
            self.init(endpoint: .unixSocket(path: data.socket), apiKey: key)
            return
        }
        do {
            self.init(endpoint: try Endpoint(parsing: url), apiKey: key)
        } catch {
            throw MartletError(.invalidArgument, "MARTLET_URL: \(error.message)")
        }
        if apiKey == nil, case .url(let address) = endpoint, Self.isLoopback(address) {
            apiKey = Self.readKey(data.keyFile)
        }
    }

    /// Whether a key of this machine may be sent to the address.
    static func isLoopback(_ url: String) -> Bool {
        guard let authority = url.split(separator: "/").dropFirst().first else { return false }
        return ["127.0.0.1", "localhost", "[::1]"].contains { authority == $0 || authority.hasPrefix($0 + ":") }
    }

    /// The first line of a key file; nil when there is none or it may not be read.
    static func readKey(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = read(descriptor, &bytes, bytes.count)
        let line = bytes.prefix(max(0, count)).prefix { $0 > 32 }
        return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
    }
}
