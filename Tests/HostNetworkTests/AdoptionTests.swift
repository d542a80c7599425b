import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// A daemon that ends without a word, and the next one.
@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(2)))
struct AdoptionTests {
    /// A process that lives in a slot's namespace, as a machine does.
    private func machine(in slot: NetworkSlot) throws -> ChildProcess {
        var request = SpawnRequest(program: "/bin/sleep", arguments: ["sleep", "1000"], environment: [])
        request.networkNamespace = slot.namespace.number
        return try ChildProcess.spawn(request)
    }

    private func end(_ machine: ChildProcess) {
        kill(machine.pid, SIGKILL)
        waitpid(machine.pid, nil, 0)
    }

    private struct Left: Sendable {
        var index: Int
        var machine: ChildProcess
        var guest: TapGuest
    }

    /// What the first daemon leaves: a machine with a policy in force, and slots it kept ready.
    private func firstDaemon(_ lab: NetworkLab) async throws -> Left {
        let network = try await lab.open()
        let slot = try await network.lease()
        for _ in 0..<3 { _ = try await network.lease() }
        let guest = try await TapGuest(slot, lab)
        try await slot.apply(
            SandboxNetwork(policy: NetworkPolicy(mode: .allowlist, allow: [try #require(NetworkRule("5.5.5.2:80"))]))
        ) { _ in }
        let left = Left(index: slot.index, machine: try machine(in: slot), guest: guest)
        // As its end would, this closes all that the daemon has open.
        await slot.giveBack()
        return left
    }

    private func links(_ lab: NetworkLab) async throws -> [String] {
        try await lab.links().filter { $0.hasPrefix("mt") }.sorted()
    }

    @Test func aMachinesSlotIsTakenOverAndTheRestIsRemoved() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let left = try await firstDaemon(lab)
            defer { end(left.machine) }
            let network = try await lab.open()
            let slot = try await network.adopt(index: left.index, process: left.machine.pid)
            #expect(slot.address.description == "10.201.0.2")
            // In force without interruption.
            #expect(try await left.guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true)
            #expect(try await left.guest.connect(to: NetworkLab.internetAddress, 81)?.isReset == true)
            await network.recovered()
            #expect(try await links(lab).filter { $0 == "mt201-0" } == ["mt201-0"])
            let report = await network.report()
            #expect(try await links(lab).count == report.used + report.ready)
            let denials = Denials()
            try await slot.apply(.closed, onDenial: denials.tell)
            #expect(try await left.guest.connect(to: NetworkLab.internetAddress, 80)?.isReset == true)
            #expect(await denials.next("network-off")?.port == 80)
            #expect(try await slot.counters().denied >= 2)
            await #expect(throws: MartletError.self) { try await slot.openTap() }
            await network.release(slot)
            #expect(try await links(lab).count == report.ready)
            withExtendedLifetime(listener) {}
        }
    }

    @Test func whatIsNoSlotIsNotAdopted() async throws {
        try await NetworkLab.with { lab in
            let left = try await firstDaemon(lab)
            defer { end(left.machine) }
            let network = try await lab.open()
            for (index, process) in [(left.index, getpid()), (left.index, 0x3FFFFFF), (77, left.machine.pid)] {
                let error = await #expect(throws: MartletError.self) {
                    try await network.adopt(index: index, process: process)
                }
                #expect(error?.code == .failedPrecondition)
            }
            // None of it was in the way.
            let slot = try await network.adopt(index: left.index, process: left.machine.pid)
            await #expect(throws: MartletError.self) {
                try await network.adopt(index: left.index, process: left.machine.pid)
            }
            await network.release(slot)
        }
    }
}
