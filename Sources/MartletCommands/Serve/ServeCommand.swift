import ArgumentParser
import Glibc
import Logging
import MartletClient
import SandboxModel

/// Runs the daemon.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run the daemon: sandboxes, API, templates.",
        discussion: """
            SIGTERM or SIGINT ends it orderly; sandboxes go on and the next daemon takes them over, unless
            --stop-sandboxes was given. A second signal ends it at once. Every option can be given as an environment
            variable: MARTLET_DATA, MARTLET_LISTEN, MARTLET_IMAGES, MARTLET_TEMPLATES, MARTLET_MAX_SANDBOXES,
            MARTLET_POOL_SHELLS, MARTLET_POOL_WARM, MARTLET_NO_POOL, MARTLET_LOG_FORMAT, MARTLET_LOG_LEVEL,
            MARTLET_NETWORK_SUBNET, MARTLET_NETWORK_OPEN and MARTLET_NETWORK_DNS (several with blanks between),
            MARTLET_NETWORK_DEFAULT, MARTLET_NO_NETWORK, MARTLET_NETWORK_ROUTED, MARTLET_NETWORK_POOL,
            MARTLET_NETWORK_TRUST_ROOTS, MARTLET_DOMAIN, MARTLET_E2B_INTERNET, MARTLET_INSECURE_NO_JAIL,
            MARTLET_DEFAULT_ISOLATION, MARTLET_MINIMUM_ISOLATION. Secrets may be read from variables named MARTLET_SECRET_*.
            """)

    @Option(name: .long, help: "Directory for everything it keeps (/var/lib/martlet, or ~/.local/share/martlet).")
    var data: String?

    @Option(name: .long, help: "Address and port for the API (127.0.0.1:7070); port 0 takes a free one.")
    var listen: String?

    @Flag(name: .long, help: "Allow an address that other machines can reach.")
    var allowRemote = false

    @Option(name: .long, help: "Directory for built templates and captures (DATA/images).")
    var images: String?

    @Option(name: .long, help: "Directory with the template definitions.")
    var templates: String?

    @Option(name: .long, help: "Sandboxes at once (256).")
    var maxSandboxes: Int?

    @Option(name: .long, help: "Machines started ahead of demand for each template in use (1).")
    var poolShells: Int?

    @Option(name: .long, help: "Guests restored ahead of demand for each template in use (2).")
    var poolWarm: Int?

    @Flag(name: .long, help: "Keep nothing ready ahead of demand.")
    var noPool = false

    @Flag(name: .long, help: "End all sandboxes when the daemon ends.")
    var stopSandboxes = false

    @Flag(name: .long, help: "Never use KVM.")
    var noKvm = false

    @Flag(
        name: .long,
        help: "Run sandboxes' QEMU unjailed, as the daemon's own user, where this host cannot jail it. Dangerous.")
    var insecureNoJail = false

    @Option(
        name: .long, help: "Domain of published ports, {port}-{id}.DOMAIN (localhost); https:// where TLS is in front.")
    var domain: String?

    @Flag(
        name: .long,
        help: "Give sandboxes that clients of E2B make the internet, as these expect, unless they ask for less.")
    var e2bInternet = false

    @OptionGroup var isolation: IsolationServeOptions
    @OptionGroup var network: NetworkServeOptions

    @Option(name: .long, help: "text or json (text on a terminal, else json).")
    var logFormat: LogFormat?

    @Option(name: .long, help: "trace, debug, info, notice, warning or error (info).")
    var logLevel: LogLevel?

    @Flag(name: .long, help: ArgumentHelp("Set by verbs that start the daemon.", visibility: .private))
    var backgroundChild = false

    func run() async throws {
        umask(0o077)
        let channel = backgroundChild ? ReadyChannel() : nil
        do {
            let settings = try ServeSettings(self, environment: Session.environment)
            settings.bootstrapLogging()
            try await ServeComposition(settings: settings, ready: channel).run()
        } catch {
            channel?.fail(error)
            throw error
        }
    }
}

/// How log lines are written.
enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

/// Which log lines are written.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error
}
