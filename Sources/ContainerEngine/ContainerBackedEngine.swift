import SandboxEngine
import SandboxModel

/// An engine whose machines are containers. What all of these have in common is done here: nothing is baked,
/// booted or written out, and what an earlier daemon has left is the host's to find.
package protocol ContainerBackedEngine: SandboxEngine {
    nonisolated var host: ContainerHost { get }
}

extension ContainerBackedEngine {
    package var attachment: NetworkAttachment { .link }

    package var bakesTemplates: Bool { false }

    package var holdsPrograms: Bool { false }

    package func bake(
        _ image: BootImage, into directory: String, network: MachineNetwork?,
        progress: @escaping @Sendable (String) -> Void
    ) async throws { throw MartletError.unsupported(.reboot, "capture template", directory, engine: name) }

    package func boot(
        _ boot: BootImage, from image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        throw MartletError.unsupported(.reboot, "boot from disk", directory, engine: name)
    }

    package func writeDisk(of image: MachineImage, to path: String) async throws {
        throw MartletError.unsupported(.reboot, "write disk", path, engine: name)
    }

    package func adopt(_ image: MachineImage, in directory: String) async throws -> (any Machine)? {
        try await host.adopt(image, in: directory, engine: name)
    }

    package func reclaim(_ directory: String) async { await host.reclaim(directory) }

    package func reclaimOthers(than directories: Set<String>) async { await host.reclaimOthers(than: directories) }
}
