import FoundationEssentials
import LinuxSystem
import SandboxModel

/// What a bundle's `config.json` says, as far as a machine of our own can be made to follow it (OCI runtime
/// specification 1.0, config.md). It is untrusted until ``ContainerPlan`` has looked at it.
struct ContainerConfiguration: Decodable, Sendable {
    struct User: Decodable, Sendable {
        var uid: UInt32
        var gid: UInt32
        var umask: UInt32?
        var additionalGids: [UInt32]?
    }

    struct Capabilities: Decodable, Sendable {
        var bounding: [String]?
    }

    struct ResourceLimit: Decodable, Sendable {
        var type: String
        var hard: UInt64
        var soft: UInt64
    }

    struct Process: Decodable, Sendable {
        var terminal: Bool?
        var user: User
        var args: [String]?
        var env: [String]?
        var cwd: String
        var capabilities: Capabilities?
        var rlimits: [ResourceLimit]?
        var noNewPrivileges: Bool?
    }

    struct Root: Decodable, Sendable {
        var path: String
        var readonly: Bool?
    }

    struct Mount: Decodable, Sendable {
        var destination: String
        var type: String?
        var source: String?
        var options: [String]?
    }

    struct Memory: Decodable, Sendable { var limit: Int64? }

    struct Processor: Decodable, Sendable {
        var quota: Int64?
        var period: UInt64?
    }

    struct Processes: Decodable, Sendable { var limit: Int64 }

    struct Resources: Decodable, Sendable {
        var memory: Memory?
        var cpu: Processor?
        var pids: Processes?
    }

    struct Namespace: Decodable, Sendable {
        var type: String
        var path: String?
    }

    struct Device: Decodable, Sendable { var path: String }

    struct Hook: Decodable, Sendable { var path: String }

    struct Hooks: Decodable, Sendable {
        var prestart: [Hook]?
        var createRuntime: [Hook]?
        var createContainer: [Hook]?
        var startContainer: [Hook]?
    }

    struct Linux: Decodable, Sendable {
        var namespaces: [Namespace]?
        var resources: Resources?
        var devices: [Device]?
        var sysctl: [String: String]?
        var maskedPaths: [String]?
        var readonlyPaths: [String]?
    }

    var ociVersion: String
    var process: Process?
    var root: Root?
    var hostname: String?
    var mounts: [Mount]?
    var hooks: Hooks?
    var annotations: [String: String]?
    var linux: Linux?

    /// No `config.json` is larger.
    static let maxBytes = 4 << 20

    /// Reads a bundle's configuration.
    ///
    /// - Throws: `invalid_argument` when it is no file of that form, naming the field at fault.
    static func read(bundle: String) throws -> ContainerConfiguration {
        let path = bundle + "/config.json"
        let bytes: [UInt8]
        do {
            bytes = try AtomicFile.read(path, limit: maxBytes + 1)
        } catch {
            throw MartletError(.invalidArgument, "bundle: \(error)")
        }
        guard bytes.count <= maxBytes else {
            throw MartletError(.tooLarge, "\(path): is larger than \(maxBytes) bytes")
        }
        return try parse(bytes, name: path)
    }

    /// Takes the bytes of a configuration; `name` is what errors call it.
    static func parse(_ bytes: [UInt8], name: String) throws(MartletError) -> ContainerConfiguration {
        do {
            return try JSONDecoder().decode(ContainerConfiguration.self, from: Data(bytes))
        } catch let error as DecodingError {
            throw MartletError(.invalidArgument, "\(name): \(describe(error))")
        } catch {
            throw MartletError(.invalidArgument, "\(name): is not JSON")
        }
    }

    private static func describe(_ error: DecodingError) -> String {
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.isEmpty ? "it" : context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(path(context)): '\(key.stringValue)' is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return "\(path(context)): has the wrong type"
        case .dataCorrupted(let context): return "\(path(context)): is not valid"
        @unknown default: return "is not valid"
        }
    }
}
