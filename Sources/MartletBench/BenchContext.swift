import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// What all benchmarks share: what is measured, how often, and how to reach it.
package struct BenchContext: Sendable {
    /// What a daemon keeps ready ahead of demand.
    package enum Pool: Sendable, Equatable {
        /// As operators get it.
        case standard
        case warm(Int)
        case shells(Int)
        case none

        /// The daemon's settings for it.
        package var environment: [String: String] {
            switch self {
            case .standard: [:]
            case .warm(let count): ["MARTLET_POOL_WARM": "\(count)", "MARTLET_POOL_SHELLS": "0"]
            case .shells(let count): ["MARTLET_POOL_WARM": "0", "MARTLET_POOL_SHELLS": "\(count)"]
            case .none: ["MARTLET_NO_POOL": "1"]
            }
        }
    }

    /// Starts a daemon that keeps everything in the given directory, and returns its pid when it takes requests. It ends
    /// its sandboxes when it ends.
    package typealias DaemonStarter =
        @Sendable (_ directory: String, _ settings: [String: String]) async throws -> Int32

    /// Who is measured.
    package enum Target: Sendable {
        /// Daemons started for it, with settings made for each figure.
        case ownDaemons(DaemonStarter)
        /// One that runs already, as it is.
        case running(ClientConfiguration)
    }

    package var target: Target
    /// Martlet's version, for the report.
    package var version: String
    package var template: String
    package var runs: Int
    /// Of the sandboxes that are made, where a figure does not say otherwise; nil: what the server prefers. Bounds are those
    /// of what it prefers.
    package var isolation: String?
    package var measuresBaseline: Bool
    /// Where built templates are, for the baselines.
    package var images: String
    package var templateDefinitions: String
    package var guestAgent: String
    /// This very program.
    package var program: String
    /// The environment programs are started with.
    package var environment: [String: String]
    /// Called with what is being done, often.
    package var progress: @Sendable (String) -> Void

    package init(
        target: Target, version: String, template: String, runs: Int, measuresBaseline: Bool, images: String,
        templateDefinitions: String, guestAgent: String, program: String, environment: [String: String],
        progress: @escaping @Sendable (String) -> Void
    ) {
        self.target = target
        self.version = version
        self.template = template
        self.runs = runs
        self.measuresBaseline = measuresBaseline
        self.images = images
        self.templateDefinitions = templateDefinitions
        self.guestAgent = guestAgent
        self.program = program
        self.environment = environment
        self.progress = progress
    }

    /// Runs of what takes seconds each.
    var slowRuns: Int { min(runs, 5) }

    /// An empty report about the server's machine.
    func report(_ benchmark: String, _ server: BenchServer) async throws -> BenchReport {
        let machine = BenchMachine(try await server.client.host(), engine: isolation)
        return BenchReport(
            benchmark: benchmark, version: version, date: Timestamp(milliseconds: Clocks.realtimeMilliseconds),
            template: template, machine: machine)
    }

    /// Hands a server to `body` that has made one sandbox already, so that nothing is prepared in what is measured.
    ///
    /// - Parameters:
    ///   - settings: further ones of a daemon of our own.
    ///   - isolation: of the sandboxes it makes.
    func withServer<Result: Sendable>(
        _ pool: Pool, settings: [String: String] = [:], isolation: String? = nil,
        _ body: (BenchServer) async throws -> Result
    ) async throws -> Result {
        switch target {
        case .running(let configuration):
            return try await MartletClient.with(configuration) { client in
                let server = BenchServer(
                    client: client, template: template, isolation: isolation ?? self.isolation, daemon: nil, pool: nil,
                    environment: environment)
                try await server.prepare(progress)
                return try await body(server)
            }
        case .ownDaemons(let start):
            return try await ScratchDirectory.with { scratch in
                progress("starting a daemon of its own")
                let pid = try await start(scratch.path, pool.environment.merging(settings) { $1 })
                let daemon = PrivateDaemon(process: try ProcessHandle.open(pid: pid), directory: scratch.path)
                return try await daemon.ending {
                    try await withClient(of: daemon, pool, isolation, body)
                }
            }
        }
    }

    private func withClient<Result: Sendable>(
        of daemon: PrivateDaemon, _ pool: Pool, _ isolation: String?, _ body: (BenchServer) async throws -> Result
    ) async throws -> Result {
        let environment = environment.merging(["MARTLET_DATA": daemon.directory]) { $1 }
        let socket = DataDirectory(path: daemon.directory).socket
        return try await MartletClient.with(ClientConfiguration(endpoint: .unixSocket(path: socket))) { client in
            let server = BenchServer(
                client: client, template: template, isolation: isolation ?? self.isolation, daemon: daemon, pool: pool,
                environment: environment)
            try await server.prepare(progress)
            return try await body(server)
        }
    }
}
