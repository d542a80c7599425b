import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Ports of sandboxes that others can reach.
struct PortCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "port", abstract: "Publish ports of sandboxes for HTTP, list them, take them back.",
        discussion: "martlet port-forward reaches any port from this machine, raw TCP, without publishing it.",
        subcommands: [PortPublishCommand.self, PortListCommand.self, PortRemoveCommand.self], aliases: ["ports"])
}

/// Publishes a port.
struct PortPublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish a port and print the address to open, with its token if it is private.",
        discussion: "Published anew, a port gets a new token: the old one is good no more.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Argument(help: "The port in the sandbox.")
    var port: Int

    @Flag(name: .long, help: "Let in whoever knows the address.")
    var `public` = false

    @Option(name: .long, help: "How long the token is good (1h), or a public port stays published (for good).")
    var ttl: SecondsArgument?

    @Flag(inversion: .prefixedNo, help: "Resume the sandbox for a request if it is paused (as --on-timeout says).")
    var wake: Bool?

    @OptionGroup var output: OutputOptions

    /// What is asked for.
    var request: PublishPortRequest {
        PublishPortRequest(
            port: port, visibility: `public` ? .public : .private, ttlSeconds: ttl.map { Int($0.seconds.rounded(.up)) },
            wake: wake)
    }

    func run() async throws {
        let request = request
        let published = try await Session.with { try await $0.publishPort(sandbox, request) }
        try output.show(published) {
            published.url + (published.token.map { "?martlet_token=\($0)" } ?? "")
        }
        guard output.format == .table else { return }
        let until = published.expiresAt.map { ", until \($0)" } ?? ""
        Console.note(
            published.visibility == .private ? "private: whoever has the token gets in\(until)" : "public\(until)")
    }
}

/// Shows a sandbox's published ports.
struct PortListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List a sandbox's published ports.", aliases: ["list"])

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await Session.with { try await $0.ports(sandbox) }
        try output.show(Page(items: found, nextCursor: nil)) { PortTable.text(found) }
    }
}

/// Takes published ports back.
struct PortRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Take published ports back; who uses them is cut off.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Argument(help: "The ports.")
    var ports: [Int]

    func run() async throws {
        let sandbox = sandbox
        try await Session.with { client in
            _ = try await Several.run(ports.map(String.init)) { port in
                try await client.unpublishPort(sandbox, Int(port) ?? 0)
                Console.print(port)
            }
        }
    }
}

/// Published ports for people.
enum PortTable {
    static func text(_ ports: [PortResource]) -> String {
        var table = Table(["PORT", "VISIBILITY", "WAKES", "UNTIL", "URL"])
        for port in ports {
            table.add([
                "\(port.port)", port.visibility.rawValue, port.wake ? "yes" : "no", port.expiresAt?.description ?? "-",
                port.url,
            ])
        }
        return table.text
    }
}
