import FoundationEssentials
import Glibc
import HostNetwork
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel

extension SandboxEngine {
    /// The kind of slot its machines need.
    fileprivate var slotEnd: SlotEnd {
        switch attachment {
        case .tap: .tap
        case .link: .link
        }
    }
}

extension Node {
    /// A new, empty home for one machine; its slot reaches nothing as yet.
    func makeHome(hasNetworkCard: Bool, for engine: any SandboxEngine) async throws -> MachineHome {
        // Where there is a slot ready this waits for nothing.
        let slot = hasNetworkCard ? try await requiredNetwork().lease(engine.slotEnd) : nil
        do {
            return MachineHome(directory: try makeMachineDirectory(), slot: slot)
        } catch {
            if let slot { await network?.release(slot) }
            throw error
        }
    }

    private func makeMachineDirectory() throws(MartletError) -> String {
        let path = "\(configuration.directory)/machines/\(RandomID.make(prefix: "m"))"
        guard mkdir(path, 0o700) == 0 else {
            let full = errno == ENOSPC || errno == EDQUOT
            throw MartletError(
                full ? .resourceExhausted : .internal,
                "create: \(path): \(String(cString: strerror(errno)))"
                    + (full ? ": free some space on the data disk" : ""))
        }
        return path
    }

    /// What a machine's process is started with; nil without a card.
    nonisolated func machineNetwork(of home: MachineHome) async throws -> MachineNetwork? {
        guard let slot = home.slot else { return nil }
        let tap = slot.end == .tap ? try await slot.openTap() : nil
        return MachineNetwork(namespace: slot.namespace, tap: tap, tapName: NetworkSlot.tapName) {
            try await slot.join($0)
        }
    }

    /// Ends a machine and gives up its home.
    nonisolated func dispose(_ machine: any Machine, _ home: MachineHome) async {
        await machine.kill()
        await giveUp(home)
    }

    /// Removes a home whose machine is gone or never came to be.
    nonisolated func giveUp(_ home: MachineHome) async {
        await Node.removeDirectory(home.directory)
        if let slot = home.slot { await network?.release(slot) }
    }

    /// Removes a directory with all that is in it, also in a task that was cancelled: that is when most is left over.
    static func removeDirectory(_ directory: String) async {
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { _ in
                try? FileManager.default.removeItem(atPath: directory)
                continuation.resume()
            }
        }
    }
}
