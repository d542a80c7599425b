import ArgumentParser
import MartletBench
import MartletClient
import SandboxModel

/// The options that every benchmark has.
struct BenchOptions: ParsableArguments {
    @Option(name: [.customShort("T"), .long], help: "Template to measure.")
    var template = "base"

    @Flag(name: .long, inversion: .prefixedNo, help: "Measure the alternatives too.")
    var baseline = true

    @Option(name: .long, help: "Directory with built templates (MARTLET_IMAGES, or those of this user's daemon).")
    var images: String?

    @Option(name: .long, help: "Measure the server that runs there, as it is, instead of daemons of its own.")
    var url: String?

    @OptionGroup var output: OutputOptions

    /// What the benchmarks need to know.
    func context(
        runs: Int, environment: [String: String] = Session.environment, progress: @escaping @Sendable (String) -> Void
    ) throws -> BenchContext {
        let installation = Installation(environment: environment)
        let given = images ?? environment["MARTLET_IMAGES"].flatMap { $0.isEmpty ? nil : $0 }
        let images = given.map { DataDirectory(path: $0).path } ?? DataDirectory(environment: environment).images
        var reached = Self.withoutOurSettings(environment)
        let target: BenchContext.Target
        if let url {
            reached["MARTLET_URL"] = url
            reached["MARTLET_DATA"] = environment["MARTLET_DATA"]
            reached["MARTLET_API_KEY"] = environment["MARTLET_API_KEY"]
            target = .running(try ClientConfiguration(environment: reached))
        } else {
            target = .ownDaemons(Self.starter(images: images, environment: reached))
        }
        return BenchContext(
            target: target, version: MartletVersion.number, template: template, runs: runs, measuresBaseline: baseline,
            images: images, templateDefinitions: installation.templates, guestAgent: installation.guestAgent,
            program: installation.executable, environment: reached, progress: progress)
    }

    /// Our environment without what it says about daemons, except where their parts are.
    static func withoutOurSettings(_ environment: [String: String]) -> [String: String] {
        let kept: Set = ["MARTLET_TEMPLATES", "MARTLET_GUEST_AGENT", "MARTLET_NO_KVM"]
        return environment.filter { name, _ in !name.hasPrefix("MARTLET_") || kept.contains(name) }
    }

    /// Starts daemons the way `run` does.
    private static func starter(images: String, environment: [String: String]) -> BenchContext.DaemonStarter {
        { directory, settings in
            let data = DataDirectory(path: directory)
            let fixed = [
                "MARTLET_IMAGES": images, "MARTLET_LISTEN": "127.0.0.1:0", "MARTLET_STOP_SANDBOXES": "1",
                "MARTLET_MAX_SANDBOXES": "100000", "MARTLET_LOG_LEVEL": "warning",
            ]
            let all = environment.merging(fixed) { $1 }.merging(settings) { $1 }
            try await DaemonLauncher(data: data, environment: all, announces: false).ensureRunning()
            guard let daemon = DaemonFile.read(data) else {
                throw MartletError(.unavailable, "daemon: \(directory): it does not say that it runs")
            }
            return daemon.pid
        }
    }
}

/// How many at once, such as `1,4,16`.
struct ConcurrencyArgument: ExpressibleByArgument, Sendable {
    /// More would not fit into what a daemon keeps ready.
    static let limit = 24

    let levels: [Int]

    init(_ levels: [Int]) { self.levels = levels }

    init?(argument: String) {
        guard let levels = Self.list(argument, upTo: Self.limit) else { return nil }
        self.levels = levels
    }

    /// Numbers from 1 on, separated by commas, each taken once; nil when it is no such list.
    static func list(_ argument: String, upTo limit: Int) -> [Int]? {
        var numbers: [Int] = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            guard let number = Int(part), (1...limit).contains(number) else { return nil }
            if !numbers.contains(number) { numbers.append(number) }
        }
        return numbers
    }

    var defaultValueDescription: String { levels.map(String.init).joined(separator: ",") }
}
