import Foundation
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel
import Testing

/// The small world of `Tests/NetworkLab`: a host in a network namespace with an internet, a private network and a
/// metadata server behind it, none of which exists outside. All of it ends with the input of its first process, whatever
/// becomes of us.
final class NetworkLab: @unchecked Sendable {
    // Unchecked: commands take turns under `lock`; nothing else changes.
    let directory: String
    /// The authority that signed the certificates of the lab's servers, as the daemon and guests are to trust it.
    let authority: String
    /// SHA-256 of `https://files.example/large.bin`.
    let downloadDigest: String
    private let process: ProcessHandle
    private let input: Descriptor
    private let output: Descriptor
    private let lock = NSLock()

    static let sources = "\(DaemonFixture.repository)/Tests/NetworkLab"
    static let nameServer = "93.184.216.53"
    /// Files of a guest that makes attempts.
    static let guestFiles = ["wire.py", "attempts.py", "works.py"]

    static let neededPrograms = ["/usr/sbin/nginx", "/usr/bin/openssl", "/usr/bin/python3", "/usr/bin/unshare"]
    static var canRun: Bool { geteuid() == 0 && neededPrograms.allSatisfy { access($0, X_OK) == 0 } }

    private struct World: Decodable {
        var download: String?
        var authority: String?
        var error: String?
    }

    private init(directory: String) throws {
        self.directory = directory
        let log = try Descriptor.open("\(directory)/lab.log", O_WRONLY | O_CREAT | O_APPEND)
        let (commands, input) = try NetworkLab.makePipe()
        let (output, replies) = try NetworkLab.makePipe()
        let child = try ChildProcess.spawn(
            SpawnRequest(
                program: "/usr/bin/unshare",
                arguments: [
                    "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/python3", "-B",
                    "\(NetworkLab.sources)/lab.py", directory,
                ],
                environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=\(directory)"],
                descriptors: [commands.number, replies.number, log.number]))
        process = try ProcessHandle.open(pid: child.pid)
        self.input = input
        self.output = output
        commands.close()
        replies.close()
        let world = try JSONDecoder().decode(World.self, from: Data(try NetworkLab.readLine(output)))
        guard let download = world.download, let authority = world.authority else {
            throw MartletError(.internal, "network lab: \(world.error ?? "it did not start")")
        }
        downloadDigest = download
        self.authority = authority
    }

    /// Hands a lab to `body`; nothing of it is left afterwards, whatever happened.
    static func with<Result>(_ body: (NetworkLab) async throws -> Result) async throws -> Result {
        let directory = NSTemporaryDirectory() + "martlet-lab-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let lab = try await blocking { try NetworkLab(directory: directory) }
        do {
            let result = try await body(lab)
            await lab.end()
            return result
        } catch {
            await lab.end()
            throw error
        }
    }

    private func end() async {
        input.close()
        let process = process
        try? await NetworkLab.blocking {
            if !process.waitForEnd(milliseconds: 20_000) { process.signal(SIGKILL) }
            _ = process.waitForEnd(milliseconds: -1)
            process.reap()
        }
    }

    // MARK: Commands

    /// What the lab answers to one command.
    struct Reply: Decodable, Sendable {
        var error: String?
        var said: String?
        var pid: Int32?
        var count: Int?
        var found: [String]?
        var entries: [[String: String]]?
        var output: String?
        var line: String?
    }

    private struct Command: Encodable {
        var op: String
        var arguments: [String: Argument]

        func encode(to encoder: any Encoder) throws {
            var all = arguments
            all["op"] = .text(op)
            try all.encode(to: encoder)
        }
    }

    /// Sends a command and waits for its answer.
    func command(_ op: String, _ arguments: [String: Argument] = [:]) async throws -> Reply {
        try JSONDecoder().decode(Reply.self, from: Data(try await answer(op, arguments))).checked(op)
    }

    private func answer(_ op: String, _ arguments: [String: Argument]) async throws -> [UInt8] {
        let line = Array(try JSONEncoder().encode(Command(op: op, arguments: arguments))) + [10]
        return try await NetworkLab.blocking { [self] in
            lock.lock()
            defer { lock.unlock() }
            try input.writeAll(line)
            return try NetworkLab.readLine(output)
        }
    }

    /// Packets and requests that arrived anywhere and carry this token, or went to one of these addresses.
    func seen(_ token: String? = nil, at addresses: [String] = [], from sources: [String] = []) async throws -> [String]
    {
        var arguments: [String: Argument] = [
            "addresses": .list(addresses.map { .text($0) }), "sources": .list(sources.map { .text($0) }),
        ]
        if let token { arguments["token"] = .text(token) }
        return try await command("seen", arguments).found ?? []
    }

    /// What servers were asked, in order, from an earlier `mark` on.
    func log(from start: Int = 0) async throws -> [[String: String]] {
        try await command("log", ["start": .number(start)]).entries ?? []
    }

    func mark() async throws -> Int { try await command("mark").count ?? 0 }

    /// Runs a program on the lab's host, or in another of its networks.
    @discardableResult
    func run(_ words: String..., where place: String = "host") async throws -> String {
        try await command("run", ["words": .list(words.map { .text($0) }), "where": .text(place)]).output ?? ""
    }

    /// What there is on the host that sandboxes' networks could leave behind.
    struct Holdings: Decodable, Sendable, Equatable {
        var links: [String]
        var routes: [String]
        var rules: String
        var processes: [String]
        var namespaces: [String]
        var mounts: [String]
    }

    func holdings() async throws -> Holdings {
        try JSONDecoder().decode(Holdings.self, from: Data(try await answer("holdings", [:])))
    }

    /// Starts a daemon on the lab's host; its pid is ours, not the one it has there.
    func startDaemon(_ arguments: [String], _ environment: [String], data: String) async throws -> ProcessHandle {
        let reply = try await command(
            "daemon",
            [
                "arguments": .list(arguments.map { .text($0) }),
                "environment": .object(
                    Dictionary(
                        uniqueKeysWithValues: environment.map { entry in
                            let parts = entry.split(separator: "=", maxSplits: 1).map(String.init)
                            return (parts[0], .text(parts.count > 1 ? parts[1] : ""))
                        })), "log": .text("\(data)/test.log"),
            ])
        guard reply.said?.hasPrefix("ready") == true else {
            throw MartletError(.unavailable, "the daemon said: \(reply.said ?? "nothing")")
        }
        let found = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.first { pid in
            let words = (try? AtomicFile.read("/proc/\(pid)/cmdline", limit: 65_536)) ?? []
            return words.split(separator: 0).map { String(decoding: $0, as: UTF8.self) } == arguments
        }
        guard let found else { throw MartletError(.internal, "network lab: the daemon cannot be found") }
        return try ProcessHandle.open(pid: found)
    }

    // MARK: Pipes

    private static func makePipe() throws -> (reader: Descriptor, writer: Descriptor) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("pipe", "network lab", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }

    private static func readLine(_ descriptor: Descriptor) throws -> [UInt8] {
        var line: [UInt8] = []
        while line.last != 10 {
            let piece = try descriptor.read(upTo: 65_536)
            guard !piece.isEmpty else { throw MartletError(.internal, "network lab: it has ended: see its log") }
            line += piece
        }
        return line
    }

    static func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await NIOThreadPool.singleton.runIfActive(body)
    }
}

extension NetworkLab.Reply {
    fileprivate func checked(_ op: String) throws -> Self {
        if let error { throw MartletError(.internal, "network lab: \(op): \(error)") }
        return self
    }
}

/// A value of a command or an attempt, as JSON has it.
enum Argument: Sendable, Hashable, Encodable {
    case text(String)
    case number(Int)
    case flag(Bool)
    case list([Argument])
    case object([String: Argument])

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .flag(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// The same with a piece of every text replaced.
    func replacing(_ mark: String, with text: String) -> Argument {
        switch self {
        case .text(let value): .text(value.replacingOccurrences(of: mark, with: text))
        case .list(let value): .list(value.map { $0.replacing(mark, with: text) })
        case .object(let value): .object(value.mapValues { $0.replacing(mark, with: text) })
        case .number, .flag: self
        }
    }
}

extension Argument: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral
{
    init(stringLiteral value: String) { self = .text(value) }
    init(integerLiteral value: Int) { self = .number(value) }
    init(booleanLiteral value: Bool) { self = .flag(value) }
    init(arrayLiteral elements: Argument...) { self = .list(elements) }
}

extension Trait where Self == ConditionTrait {
    /// Needs root, to make namespaces, and the lab's programs; `scripts/test` sees to those.
    static var requiresNetworkLab: Self {
        .enabled(
            if: NetworkLab.canRun, "no root, or one of \(NetworkLab.neededPrograms.joined(separator: ", ")) is missing")
    }
}
