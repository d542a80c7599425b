import Glibc
import LinuxSystem
import Node
import SandboxModel
import Testing

@testable import HostNetwork

/// The one server of a lab's internet: it tells who asks, and then sends back what it is sent.
struct Internet {
    static let port: UInt16 = 7000
    private let server: ProcessHandle

    private static let program = """
        import socket, threading
        listener = socket.create_server(('0.0.0.0', \(port)), backlog=256)
        print('ready', flush=True)
        def serve(end, address):
            try:
                end.sendall((address[0] + '\\n').encode())
                while data := end.recv(65536): end.sendall(data)
            except OSError: pass
            end.close()
        while True: threading.Thread(target=serve, args=listener.accept(), daemon=True).start()
        """

    /// Runs `body` while the server serves; slots' own addresses are routed back to the lab's host.
    static func serving(_ lab: NetworkLab, _ body: () async throws -> Void) async throws {
        try await lab.thread.run(in: lab.internet, .handOut) {
            let links = try NetworkLinks()
            try links.addDefaultRoute(by: NetworkLab.hostAddress.bits, on: try links.index(of: "host0"))
        }
        let (process, output) = try Internet.start(in: lab.internet)
        defer {
            process.signal(SIGKILL)
            _ = process.waitForEnd(milliseconds: -1)
            process.reap()
        }
        #expect(try output.read(upTo: 6) == Array("ready\n".utf8))
        try await body()
    }

    private static func start(in namespace: Descriptor) throws -> (ProcessHandle, Descriptor) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("pipe", "internet", errno: errno) }
        let (reader, writer) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        _ = fcntl(reader.number, F_SETFD, FD_CLOEXEC)
        var request = SpawnRequest(
            program: "/usr/bin/python3", arguments: ["python3", "-c", program], environment: [],
            descriptors: [nil, writer.number, nil])
        request.networkNamespace = namespace.number
        let child = try ChildProcess.spawn(request)
        return (try ProcessHandle.open(pid: child.pid), reader)
    }
}

extension NodeFixture {
    static let publicNetwork = SandboxNetwork(policy: NetworkPolicy(mode: .public))

    /// A shell command that prints from where the lab's server sees us, or nothing when it is out of reach.
    private static let asking =
        "exec 3<>/dev/tcp/\(NetworkLab.internetAddress)/\(Internet.port) && read -r line <&3 && echo \"$line\""

    /// From where the lab's server sees a sandbox; empty when it is out of reach.
    func outerAddress(of sandbox: NodeSandbox) async throws -> String {
        try await output(
            of: "timeout", "20", "bash", "-c", "{ \(NodeFixture.asking); } 2>/dev/null || true", in: sandbox)
    }

    /// A node whose sandboxes have networks, on the host of a lab that has an internet.
    static func withNetwork(
        pool: PoolConfiguration = PoolConfiguration(isEnabled: false), maxSandboxes: Int = 16,
        _ body: @escaping @Sendable (NodeFixture, HostNetwork) async throws -> Void
    ) async throws {
        try await NetworkLab.with { lab in
            try await Internet.serving(lab) {
                try await withDirectory { directory in
                    try await live(in: directory, on: lab, pool: pool, maxSandboxes: maxSandboxes, body)
                }
                #expect(try await slotLinks(lab).isEmpty, "links of slots were left behind")
            }
        }
    }

    /// The life of a node and of its host's network; see `live(in:)`.
    static func live(
        in directory: String, on lab: NetworkLab, pool: PoolConfiguration = PoolConfiguration(isEnabled: false),
        maxSandboxes: Int = 16, stopsSandboxes: Bool = true, slots: Int = 2,
        _ body: @escaping @Sendable (NodeFixture, HostNetwork) async throws -> Void
    ) async throws {
        var configuration = lab.configuration
        configuration.translates = false
        configuration.pooledSlots = slots
        let network = try await lab.open(configuration)
        try await live(
            in: directory, pool: pool, maxSandboxes: maxSandboxes, stopsSandboxes: stopsSandboxes, network: network
        ) { try await body($0, network) }
    }

    /// Names of slots' links on the lab's host.
    static func slotLinks(_ lab: NetworkLab) async throws -> [String] {
        try await lab.links().filter { $0.hasPrefix("mt") }
    }

    func create(_ network: SandboxNetwork, environment: [String] = []) async throws -> NodeSandbox {
        let id = SandboxID.random()
        return try await node.create(
            SandboxSpec(
                id: id, template: "base", environment: environment, hostname: id.rawValue, network: network))
    }

    func fork(_ source: ForkSource, _ count: Int, _ network: SandboxNetwork) async throws -> [NodeSandbox] {
        let specs = (0..<count).map { _ in
            let id = SandboxID.random()
            return ForkSpec(id: id, hostname: id.rawValue, network: network)
        }
        return try await node.fork(source, into: specs).children.map { try $0.get() }
    }
}

extension Trait where Self == ConditionTrait {
    /// Needs what slots need.
    static var requiresNetwork: Self { .enabled(if: NetworkLab.isPossible, NetworkLab.need) }
}
