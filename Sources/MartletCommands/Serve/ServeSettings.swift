import Logging
import MartletClient
import SandboxModel
import Server

/// What the operator set, by option or environment, checked.
struct ServeSettings: Sendable {
    var data: DataDirectory
    var host: String
    var port: Int
    /// Whether the address was asked for; else another port will do if it is taken.
    var isAddressGiven: Bool
    var images: String
    var installation: Installation
    var templates: String
    var maxSandboxes: Int
    var poolEnabled: Bool
    var poolShells: Int
    var poolWarm: Int
    var stopsSandboxes: Bool
    var allowsKVM: Bool
    /// Whether QEMU may run unjailed.
    var allowsNoJail: Bool
    /// Where published ports have host names.
    var domain: PreviewDomain
    /// Whether sandboxes of E2B's clients may reach the internet.
    var e2bInternet: Bool
    var network: NetworkSettings
    var isolation: IsolationSettings
    var logFormat: LogFormat
    var logLevel: Logger.Level

    init(_ command: ServeCommand, environment: [String: String]) throws {
        let given = Variables(environment)
        data = command.data.map(DataDirectory.init(path:)) ?? DataDirectory(environment: environment)
        installation = Installation(environment: environment)
        let address = command.listen ?? given.text("MARTLET_LISTEN")
        isAddressGiven = address != nil
        (host, port) = try Self.address(address ?? "127.0.0.1:7070")
        guard command.allowRemote || Self.isLoopback(host) else {
            throw MartletError(
                .invalidArgument,
                "listen: \(host) can be reached by other machines: add --allow-remote if that is wanted, and put TLS "
                    + "in front of it")
        }
        images = (command.images ?? given.text("MARTLET_IMAGES")).map { DataDirectory(path: $0).path } ?? data.images
        templates = command.templates.map { DataDirectory(path: $0).path } ?? installation.templates
        maxSandboxes = try Self.within(
            1...100_000, try command.maxSandboxes ?? given.number("MARTLET_MAX_SANDBOXES") ?? 256, "max-sandboxes")
        poolShells = try Self.within(
            0...64, try command.poolShells ?? given.number("MARTLET_POOL_SHELLS") ?? 1, "pool-shells")
        poolWarm = try Self.within(0...64, try command.poolWarm ?? given.number("MARTLET_POOL_WARM") ?? 2, "pool-warm")
        poolEnabled = !command.noPool && !given.flag("MARTLET_NO_POOL")
        stopsSandboxes = command.stopSandboxes || given.flag("MARTLET_STOP_SANDBOXES")
        allowsKVM = !command.noKvm && !given.flag("MARTLET_NO_KVM")
        allowsNoJail = command.insecureNoJail || given.flag("MARTLET_INSECURE_NO_JAIL")
        domain =
            try (command.domain ?? given.text("MARTLET_DOMAIN")).map { (text) throws(MartletError) in
                try PreviewDomain(parsing: text)
            } ?? .standard
        e2bInternet = command.e2bInternet || given.flag("MARTLET_E2B_INTERNET")
        network = try NetworkSettings(command.network, environment: environment)
        isolation = try IsolationSettings(command.isolation, environment: environment)
        logFormat =
            try command.logFormat ?? given.choice("MARTLET_LOG_FORMAT") ?? (Console.errorIsTerminal ? .text : .json)
        let level: LogLevel = try command.logLevel ?? given.choice("MARTLET_LOG_LEVEL") ?? .info
        logLevel = Logger.Level(rawValue: level.rawValue) ?? .info
    }

    /// Sends the log lines of every library to standard error. Once, before the first logger is made.
    func bootstrapLogging() {
        LoggingSystem.bootstrap(
            { [logFormat, logLevel] label, provider in
                switch logFormat {
                case .text:
                    TextLogHandler(
                        metadataProvider: provider, logLevel: logLevel, hasColour: Style.isOnForError)
                case .json: JSONLogHandler(metadataProvider: provider, logLevel: logLevel, label: label)
                }
            }, metadataProvider: nil)
    }

    /// `host:port`; an IPv6 address stands in brackets.
    static func address(_ text: String) throws(MartletError) -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw .invalid("listen", "'\(text)' is not host:port, as in 127.0.0.1:7070")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .invalid("listen", "'\(text)': an IPv6 address stands in brackets, as in [::1]:7070")
        }
        guard !host.isEmpty else {
            throw .invalid("listen", "'\(text)' names no host; 127.0.0.1 is this machine alone")
        }
        return (String(host), Int(port))
    }

    /// Whether only this machine can reach an address.
    static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isV4 = parts.count == 4 && parts.allSatisfy { UInt8($0) != nil } && parts[0] == "127"
        return isV4 || host == "::1" || host == "localhost"
    }

    private static func within(
        _ range: ClosedRange<Int>, _ value: Int, _ name: String
    ) throws(MartletError) -> Int {
        guard range.contains(value) else {
            throw .invalid(name, "\(value) is outside \(range.lowerBound)...\(range.upperBound)")
        }
        return value
    }
}

/// Settings in the environment.
struct Variables {
    private let values: [String: String]

    init(_ values: [String: String]) { self.values = values }

    func text(_ name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }

    /// Set to anything but an empty string, 0, no or false.
    func flag(_ name: String) -> Bool {
        text(name).map { !["0", "no", "false", "off"].contains($0.lowercased()) } ?? false
    }

    func number(_ name: String) throws(MartletError) -> Int? {
        guard let text = text(name) else { return nil }
        guard let number = Int(text) else { throw .invalid(name, "'\(text)' is not a number") }
        return number
    }

    func choice<Choice: CaseIterable & RawRepresentable>(
        _ name: String
    ) throws(MartletError) -> Choice? where Choice.RawValue == String {
        guard let text = text(name) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            throw .invalid(name, "'\(text)' is not one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }
}
