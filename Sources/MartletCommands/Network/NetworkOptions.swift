import ArgumentParser
import FoundationEssentials
import Glibc
import LinuxSystem
import MartletAPI
import SandboxModel

/// The options that say what a sandbox may reach.
struct NetworkOptions: ParsableArguments {
    @Option(name: .long, help: "What it may reach: none, public, or allowlist with --allow.")
    var network: NetworkPolicy.Mode?

    @Option(
        name: .long,
        help: "Address, range, host or *.HOST, with :PORTS if need be; means --network allowlist. Repeatable.")
    var allow: [NetworkRule] = []

    @Option(name: .long, help: "As --allow, for what is refused; goes before it. Means --network public by itself.")
    var deny: [NetworkRule] = []

    @Option(name: .long, help: "Address of a name server to ask instead of the host's; up to four.")
    var dns: [IPv4Address] = []

    @Option(name: .long, help: "Mbit/s it may send and receive.")
    var rateMbps: Int?

    @Option(name: .long, help: "Connections it may have at once (1024).")
    var maxConnections: Int?

    @Option(name: .long, help: "A JSON file with the whole policy, '-' for standard input, in place of these options.")
    var policy: String?

    /// The policy these options make; nil when none was given.
    ///
    /// - Throws: `ValidationError`, `invalid_argument` for options that do not go together.
    func networkPolicy() throws -> NetworkPolicy? {
        let areGiven =
            network != nil || !allow.isEmpty || !deny.isEmpty || !dns.isEmpty || rateMbps != nil
            || maxConnections != nil
        if let policy {
            guard !areGiven else { throw ValidationError("--policy is the whole policy; leave the other options out") }
            return try PolicyFile.read(policy)
        }
        guard areGiven else { return nil }
        let implied: NetworkPolicy.Mode? = !allow.isEmpty ? .allowlist : deny.isEmpty ? nil : .public
        guard let mode = network ?? implied else {
            throw ValidationError("--dns, --rate-mbps and --max-connections need --network or --allow beside them")
        }
        let made = NetworkPolicy(
            mode: mode, allow: allow, deny: deny, dns: dns.isEmpty ? nil : .init(servers: dns), rateMbps: rateMbps,
            maxConnections: maxConnections)
        try made.check()
        return made
    }
}

/// A policy in a file, as the API has it.
enum PolicyFile {
    static let maxBytes = 1 << 20

    static func read(_ path: String) throws -> NetworkPolicy {
        let name = path == "-" ? "standard input" : path
        let bytes = try InputFile.read(path, limit: maxBytes)
        do {
            let data = Data(bytes)
            // What is misspelled would be as if it were not there.
            let fields = try JSONDecoder().decode([String: AnyValue].self, from: data).keys
            if let unknown = fields.sorted().first(where: { !NetworkPolicy.fields.contains($0) }) {
                throw MartletError.invalid(unknown, "is no field of a network policy (\(name))")
            }
            let policy = try JSONDecoder().decode(NetworkPolicy.self, from: data)
            try policy.check(field: nil)
            return policy
        } catch let error as DecodingError {
            throw MartletError(.invalidArgument, "policy: \(name): \(explained(error))")
        }
    }

    private static func explained(_ error: DecodingError) -> String {
        guard case .dataCorrupted(let context) = error, let field = context.codingPath.first else {
            return "it is no network policy in JSON"
        }
        let index = context.codingPath.dropFirst().first?.intValue.map { "[\($0)]" } ?? ""
        return "\(field.stringValue)\(index): \(context.debugDescription)"
    }

    private struct AnyValue: Decodable { init(from decoder: any Decoder) throws {} }
}

/// A file given on the command line, or standard input.
enum InputFile {
    /// - Parameter path: `-` is standard input.
    /// - Throws: `not_found`, `too_large`, `invalid_argument`.
    static func read(_ path: String, limit: Int) throws(MartletError) -> [UInt8] {
        do {
            let bytes = path == "-" ? try standardInput(limit + 1) : try AtomicFile.read(path, limit: limit + 1)
            guard bytes.count <= limit else {
                throw MartletError(.tooLarge, "read \(path): it is larger than \(limit) bytes")
            }
            return bytes
        } catch let error as MartletError {
            throw error
        } catch let error as SystemError where error.errno == 2 {
            throw MartletError(.notFound, "read \(path): there is no such file")
        } catch {
            throw MartletError(.invalidArgument, "read \(path): \(error)")
        }
    }

    private static func standardInput(_ limit: Int) throws(SystemError) -> [UInt8] {
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while all.count < limit {
            let count = Glibc.read(0, &piece, min(piece.count, limit - all.count))
            if count == 0 { break }
            if count < 0 {
                guard errno == EINTR else { throw SystemError("read", "standard input", errno: errno) }
            } else {
                all += piece[..<count]
            }
        }
        return all
    }
}
