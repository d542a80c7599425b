import ArgumentParser
import Glibc
import MartletAPI
import MartletClient
import SandboxModel

/// Makes ports of a sandbox ports of this machine.
struct PortForwardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "port-forward", abstract: "Listen on this machine for ports of a sandbox, raw TCP, until stopped.",
        usage: "martlet port-forward <sandbox> [<local>:]<port> ... [--address <address>]",
        discussion: """
            The sandbox need not have a network, nor the port be published. 0:80 takes any free port and tells it.
            Ends with Ctrl-C, or when the sandbox is gone.
            """)

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Argument(help: "8080:80, or 80 for the same on both sides, or 0:80 for a free one here.")
    var ports: [PortMapping]

    @Option(name: .long, help: "Address of this machine to listen on.")
    var address = "127.0.0.1"

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let signals = Signals([SIGINT, SIGTERM, SIGHUP])
        try await Session.with { client in
            // By its id from now on: a name may come to be another's.
            let id = try await client.sandbox(sandbox).id
            let forwarder = PortForwarder(client: client, sandbox: id)
            let listeners = try await forwarder.listen(on: address, ports)
            try output.show(listeners.map(ForwardedPort.init)) {
                listeners.map { "\($0.description) -> \(sandbox):\($0.mapping.remote)" }.joined(separator: "\n")
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await forwarder.serve(listeners) }
                group.addTask { for await _ in signals.stream { return } }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }
}

/// A port of this machine that leads into a sandbox, as JSON.
struct ForwardedPort: Encodable {
    var address: String
    var port: Int
    var target: Int

    init(_ listener: PortListener) {
        address = listener.address
        port = listener.port
        target = listener.mapping.remote
    }
}
