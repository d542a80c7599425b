import FoundationEssentials
import Glibc
import LinuxSystem
import MartletClient
import SandboxModel

/// `martlet-oci`: an OCI runtime whose containers are Martlet's microVMs.
public enum OCIProgram {
    /// The release, as `--version` prints it.
    static let version = "0.1.0"
    /// The OCI runtime specification that is spoken.
    static let specification = "1.0.2"
    private static let usage = """
        usage: martlet-oci [--root DIR] [--data DIR] [--log FILE] [--log-format json] VERB
        verbs: create --bundle DIR [--pid-file FILE] [--console-socket SOCKET] ID
               start ID    state ID    kill [--all] ID [SIGNAL]    delete [--force] ID

        """

    /// Runs the command line and ends the process.
    public static func main() async -> Never {
        signal(SIGPIPE, SIG_IGN)
        var options: RuntimeOptions?
        do {
            let parsed = try RuntimeOptions(Array(CommandLine.arguments.dropFirst()))
            options = parsed
            exit(try await run(parsed))
        } catch {
            let text = (error as? MartletError)?.message ?? "\(error)"
            report(text, options)
            exit(1)
        }
    }

    private static func run(_ options: RuntimeOptions) async throws -> Int32 {
        switch options.verb {
        case "version":
            print("martlet-oci version \(version)\nspec: \(specification)")
            return 0
        case "help", "":
            print(usage)
            return options.verb.isEmpty ? 1 : 0
        default: break
        }
        let runtime = Runtime(
            options: options, directory: ContainerDirectory(root: options.root, id: try options.container()))
        switch options.verb {
        case "create": try await runtime.create()
        case "start": try runtime.start()
        case "state": print(try runtime.state())
        case "kill": try runtime.kill()
        case "delete": try await runtime.delete()
        case Shim.verb: return try await Shim(options: options, directory: runtime.directory).run()
        default: throw MartletError(.internal, "\(options.verb): nothing is done for this verb")
        }
        return 0
    }

    /// Says what failed where the caller looks for it: standard error and the log file.
    private static func report(_ text: String, _ options: RuntimeOptions?) {
        try? Descriptor.standardError.writeAll(Array("martlet-oci: \(text)\n".utf8))
        guard let options, let log = options.log,
            let file = try? Descriptor.open(log, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
        else { return }
        let entry = ["level": "error", "msg": text, "time": Date().formatted(.iso8601)]
        let json = try? JSONEncoder().encode(entry)
        try? file.writeAll(options.logIsJSON ? Array(json ?? Data()) + [10] : Array("\(text)\n".utf8))
    }
}

extension Descriptor {
    /// Standard error, which is never closed.
    static let standardError = Descriptor(owning: 2)
}
