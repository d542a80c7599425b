import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Makes children of a sandbox or snapshot.
struct ForkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fork",
        abstract: "Make live copies of a sandbox, or sandboxes from a snapshot, and print their ids.",
        discussion: "The sandbox is captured once and goes on; every copy has its processes, memory and disk.")

    @Argument(help: "Id or name of a sandbox or snapshot.")
    var source: String

    @Option(name: [.customShort("n"), .long], help: "How many, up to 64.")
    var count = 1

    @Option(name: .long, help: "Number of a checkpoint of a recording sandbox to go on from, instead of from now.")
    var at: Int?

    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: "NAME=value for every program started in them; NAME alone passes ours on.")
    var variables: [VariableArgument] = []

    @Flag(name: .long, help: "Programs started in them have the source's environment too.")
    var inheritEnv = false

    @Option(name: [.short, .customLong("metadata")], help: "KEY=value to find them by.")
    var metadata: [VariableArgument] = []

    @Option(name: .long, help: "How long they live, such as 10m or 2h.")
    var timeout: SecondsArgument?

    @Flag(name: .long, help: "They have the source's secrets too.")
    var inheritSecrets = false

    @OptionGroup var network: NetworkOptions
    @OptionGroup var secrets: SecretOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...64).contains(count) else { throw ValidationError("--count takes 1 to 64") }
        if let at, at < 0 { throw ValidationError("--at takes the number of a checkpoint, from 0 up") }
    }

    /// What is asked for.
    func request() throws -> ForkSandboxRequest {
        ForkSandboxRequest(
            count: count, timeoutSeconds: timeout.map { Int($0.seconds.rounded(.up)) }, metadata: try metadata.labels(),
            env: variables.resolved(), inheritEnv: inheritEnv ? true : nil, at: at,
            network: try network.networkPolicy(), secrets: try secrets.secrets(),
            inheritSecrets: inheritSecrets ? true : nil)
    }

    func run() async throws {
        let request = try request()
        let made = try await Session.with { try await fork(request, $0) }
        let children = made.forks.compactMap(\.sandbox)
        switch output.format {
        case .json: Console.print(try JSONText.of(made))
        case .table:
            for child in children { Console.print(child.id) }
            Console.note(
                "\(children.count) of \(made.forks.count) made; the source was held for "
                    + Format.milliseconds(made.pauseMilliseconds))
        }
        let failures = made.forks.compactMap(\.error).map { failure in
            MartletError(
                MartletError.Code(rawValue: failure.code) ?? .internal, failure.message, details: failure.details)
        }
        guard let first = failures.first else { return }
        for failure in failures { Console.complain(failure) }
        throw ExitCode(ExitStatus.code(for: first))
    }

    /// A sandbox if there is one of that name, else a snapshot.
    private func fork(_ request: ForkSandboxRequest, _ client: MartletClient) async throws -> ForkResult {
        if SnapshotID(rawValue: source) == nil {
            do {
                return try await client.forkSandbox(source, request)
            } catch let error as MartletError
                where error.code == .notFound && error.details["checkpoint"] == nil && at == nil
            {
                // It may be a snapshot's name.
            }
        }
        guard at == nil else {
            throw MartletError(.invalidArgument, "fork: \(source): --at is for sandboxes; this is a snapshot")
        }
        guard request.inheritSecrets == nil else {
            throw MartletError(
                .invalidArgument,
                "fork: \(source): there is no sandbox of that name, and a snapshot holds no secrets to inherit")
        }
        let children = ForkSnapshotRequest(
            count: request.count, timeoutSeconds: request.timeoutSeconds, metadata: request.metadata, env: request.env,
            inheritEnv: request.inheritEnv, network: request.network, secrets: request.secrets)
        do {
            return try await client.forkSnapshot(source, children)
        } catch let error as MartletError where error.code == .notFound && SnapshotID(rawValue: source) == nil {
            throw MartletError(.notFound, "fork: there is no sandbox or snapshot '\(source)'", details: error.details)
        }
    }
}
