import ContainerEngine
import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxEngine
import SandboxModel
import Subprocess
import Synchronization
import SystemPackage

/// Sandboxes under gVisor: a kernel in user space takes all system calls of their programs, and needs few of the host's. A
/// supported boundary that works where there is no KVM.
package actor GVisorEngine: ContainerBackedEngine {
    static let engineName = "gvisor"
    /// Raise it when a container is put together in another way.
    private static let procedure = "container-2"
    /// In the order they are preferred in.
    private static let platforms = ["systrap", "ptrace"]
    /// What gVisor itself takes beside the sandbox's programs.
    private static let needs = ContainerNeeds(
        mapsUsers: false, makesNetwork: true, channel: .pipes, overheadMiB: 160, overheadTasks: 4096)

    /// What was found out about a host and a version, so that it need not be tried again.
    private struct Verdict: Codable {
        var kernel: String
        var version: String
        /// nil: none works.
        var platform: String?
        /// Whether a container was captured, and went on from that.
        var captures: Bool
        var reason: String
    }

    package nonisolated let name = GVisorEngine.engineName
    /// Whether captures work is known once something was looked at; nothing is asked of an engine before that.
    private nonisolated let captures = Atomic(false)
    package nonisolated var capabilities: Set<EngineCapability> {
        let always: Set<EngineCapability> = [.diskGrowth, .network]
        return captures.load(ordering: .acquiring) ? always.union([.snapshots, .fork, .pause]) : always
    }
    package nonisolated let host: ContainerHost
    private var installation: (program: String, version: String)?
    private var verdict: Verdict?

    /// Where `runsc` is looked for, in this order.
    private let programs: [String]

    package init(host: ContainerHost, programs: [String] = ["/usr/bin/runsc", "/usr/local/bin/runsc"]) {
        self.host = host
        self.programs = programs
    }

    // MARK: What there is

    package func inspect() async -> EngineReport {
        do {
            let (_, version) = try await found()
            if let obstacle = await host.obstacle() { return report(false, version, obstacle) }
            let verdict = try await probed()
            return report(verdict.platform != nil, version, verdict.reason)
        } catch {
            return report(false, installation?.version, (error as? MartletError)?.message ?? "\(error)")
        }
    }

    private func report(_ isAvailable: Bool, _ version: String?, _ reason: String) -> EngineReport {
        EngineReport(
            name: name, isAvailable: isAvailable, version: version, isolation: isAvailable ? currentIsolation : nil,
            reason: reason)
    }

    private func found() async throws -> (program: String, version: String) {
        if let installation { return installation }
        guard let program = programs.first(where: { access($0, X_OK) == 0 }) else {
            throw MartletError(
                .unsupported, "runsc is not installed: apt-get install -t bookworm-backports runsc, or see gvisor.dev")
        }
        let output = try await run(
            .path(FilePath(program)), arguments: ["--version"], output: .string(limit: 4096), error: .discarded
        ).standardOutput
        // `runsc version 0.0~20240729.0`, and the version of the specification in the next line.
        let words = output.split(whereSeparator: \.isWhitespace)
        let found = (program, words.count > 2 ? String(words[2]) : "unknown")
        installation = found
        return found
    }

    /// The platform that works here: by an earlier trial under the same kernel and version, else by one now.
    private func probed() async throws -> Verdict {
        if let verdict { return verdict }
        let (program, version) = try await found()
        let path = "\(host.configuration.directory)/gvisor-verdict.json"
        if let bytes = try? AtomicFile.read(path, limit: 65_536),
            let known = try? JSONDecoder().decode(Verdict.self, from: Data(bytes)), known.kernel == HostKernel.release,
            known.version == version
        {
            return take(known)
        }
        let verdict = try await tryOut(program, version)
        try? AtomicFile.write(Array(JSONEncoder().encode(verdict)), to: path)
        return take(verdict)
    }

    private func take(_ found: Verdict) -> Verdict {
        verdict = found
        captures.store(found.captures, ordering: .releasing)
        return found
    }

    private func tryOut(_ program: String, _ version: String) async throws -> Verdict {
        var verdict = Verdict(
            kernel: HostKernel.release, version: version, platform: nil, captures: false,
            reason: "neither systrap nor ptrace works here")
        for platform in GVisorEngine.platforms {
            if let problem = try await inTrialDirectory({ try await trial(program, platform, in: $0) }) {
                verdict.reason += "; \(platform): \(problem)"
                continue
            }
            let problem = await inTrialDirectory { directory in
                await GVisorTrial(program: program, platform: platform, directory: directory).run()
            }
            verdict.platform = platform
            verdict.captures = problem == nil
            verdict.reason =
                "platform \(platform): a trial container ran"
                + (problem.map { "; no snapshots, forks and pauses: \($0)" } ?? ", was captured and went on from that")
            break
        }
        return verdict
    }

    private func inTrialDirectory(_ body: (String) async throws -> String?) async rethrows -> String? {
        let directory = "\(host.configuration.directory)/trial-\(RandomID.make(prefix: "t"))"
        mkdir(directory, 0o700)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        return try await body(directory)
    }

    /// Runs a program in a container.
    ///
    /// - Returns: what went wrong; nil when nothing did.
    private func trial(_ program: String, _ platform: String, in state: String) async throws -> String? {
        let outcome = try await run(
            .path(FilePath(program)),
            arguments: [
                "--root", state, "--platform", platform, "--network", "none", "--ignore-cgroups", "do", "/bin/true",
            ],
            output: .discarded, error: .string(limit: 65_536))
        if outcome.terminationStatus.isSuccess { return nil }
        return outcome.standardError.split(separator: "\n").last.map { String($0.prefix(200)) } ?? "it failed"
    }

    private var currentIsolation: Isolation {
        Isolation(engine: name, accelerator: verdict?.platform ?? GVisorEngine.platforms[0], level: .userKernel)
    }

    package func isolation() async -> Isolation { currentIsolation }

    package func identity(for image: BootImage, hasNetworkCard: Bool) async throws -> EngineIdentity {
        EngineIdentity(
            engine: name, version: try await found().version,
            machine: GVisorEngine.procedure + (hasNetworkCard ? "-net" : ""))
    }

    package func compatibility(of shape: MachineShape, hasNetworkCard: Bool) async throws -> MachineCompatibility {
        MachineCompatibility(
            engine: name, version: try await found().version, machine: GVisorEngine.procedure, processorFeatures: [],
            timeStampKilohertz: 0)
    }

    // MARK: Machines

    package func startShell(
        _ image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        let command = try await command(in: directory, hasNetwork: network != nil)
        return try await host.start(
            image, in: directory, network: network, engine: name, needs: GVisorEngine.needs,
            capturing: GVisorCapture(command: command)
        ) { scene in
            try GVisorLaunch(command: command, scene: scene).start()
        }
    }

    package func adopt(_ image: MachineImage, in directory: String) async throws -> (any Machine)? {
        let command = try await command(in: directory, hasNetwork: image.hasNetworkCard)
        return try await host.adopt(
            image, in: directory, engine: name, capturing: GVisorCapture(command: command))
    }

    private func command(in directory: String, hasNetwork: Bool) async throws -> GVisorCommand {
        let program = try await found().program
        guard let platform = try await probed().platform else {
            throw MartletError(.unsupported, "gvisor: \(try await probed().reason)")
        }
        return GVisorCommand(
            program: program, platform: platform, state: "\(directory)/runsc", hasNetwork: hasNetwork)
    }
}
