import ContainerEngine
import Glibc
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel
import Subprocess
import SystemPackage

/// Sandboxes as processes of the host's own kernel, walled in by bubblewrap: namespaces, users of their own, a filter of
/// system calls, Landlock and control groups. For constrained work that is trusted half; one hole in the kernel is a hole
/// in the wall.
package actor BubblewrapEngine: ContainerBackedEngine {
    static let engineName = "bubblewrap"
    private static let program = "/usr/bin/bwrap"
    /// Raise it when a container is put together in another way.
    private static let procedure = "container-1"

    package nonisolated let name = BubblewrapEngine.engineName
    package nonisolated let capabilities: Set<EngineCapability> = [.diskGrowth, .network]
    private static let needs = ContainerNeeds(
        mapsUsers: true, makesNetwork: false, channel: .socket, overheadMiB: 24, overheadTasks: 16)
    package nonisolated let host: ContainerHost
    private var version: String?

    package init(host: ContainerHost) { self.host = host }

    // MARK: What there is

    package func inspect() async -> EngineReport {
        func report(_ isAvailable: Bool, _ reason: String) async -> EngineReport {
            EngineReport(
                name: name, isAvailable: isAvailable, version: version,
                isolation: isAvailable ? await isolation() : nil,
                reason: reason)
        }
        do {
            _ = try await found()
        } catch {
            return await report(false, (error as? MartletError)?.message ?? "\(error)")
        }
        if let obstacle = await host.obstacle() { return await report(false, obstacle) }
        return await report(
            true, "processes of this kernel, in namespaces and behind filters; only where asked for by name")
    }

    private func found() async throws -> String {
        if let version { return version }
        guard access(BubblewrapEngine.program, X_OK) == 0 else {
            throw MartletError(.unsupported, "bubblewrap is not installed: apt-get install bubblewrap")
        }
        let output = try await run(
            .path(FilePath(BubblewrapEngine.program)), arguments: ["--version"], output: .string(limit: 4096),
            error: .discarded
        ).standardOutput
        let found = output.split(whereSeparator: \.isWhitespace).last.map(String.init) ?? "unknown"
        version = found
        return found
    }

    package func isolation() async -> Isolation {
        Isolation(engine: name, accelerator: "native", level: .process)
    }

    package func identity(for image: BootImage, hasNetworkCard: Bool) async throws -> EngineIdentity {
        EngineIdentity(
            engine: name, version: try await found(),
            machine: BubblewrapEngine.procedure + (hasNetworkCard ? "-net" : ""))
    }

    package func compatibility(of shape: MachineShape, hasNetworkCard: Bool) async throws -> MachineCompatibility {
        MachineCompatibility(
            engine: name, version: try await found(), machine: BubblewrapEngine.procedure, processorFeatures: [],
            timeStampKilohertz: 0)
    }

    // MARK: Machines

    package func startShell(
        _ image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        _ = try await found()
        return try await host.start(
            image, in: directory, network: network, engine: name, needs: BubblewrapEngine.needs
        ) { scene in
            try JailLaunch(program: BubblewrapEngine.program, scene: scene).start()
        }
    }
}
