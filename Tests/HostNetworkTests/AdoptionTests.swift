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

    /// Slots that were kept ready die with the daemon, one after the other, while the next one starts.
    @Test func slotsThatAreDyingAreNotInTheWay() async throws {
        try await NetworkLab.with { lab in
            for _ in 0..<5 {
                let network = try await lab.open()
                let subnet = try SlotSubnet(await network.report().subnet)
                for _ in 0..<40 { await (try network.lease()).giveBack() }
                let users = try await lab.thread.run(in: lab.host, .handOut) {
                    let links = try NetworkLinks()
                    var users: Set<String> = []
                    for _ in 0..<10_000 {
                        let use = try HostUse(links)
                        if let user = use.user(of: subnet) { users.insert(user) }
                        if use.links(of: subnet).isEmpty { break }
                    }
                    return users
                }
                #expect(users.isEmpty)
                withExtendedLifetime(network) {}
            }
        }
    }

    /// A process that a daemon was starting when it was killed has the daemon's lock until it is another program.
    @Test func theSubnetOfTheLastRunIsWaitedFor() async throws {
        try await NetworkLab.with { lab in
            let left = try await firstDaemon(lab)
            defer { end(left.machine) }
            var request = SpawnRequest(program: "/bin/sleep", arguments: ["sleep", "0.3"], environment: [])
            // The first daemon's memory of its network may go a moment later than this gets here.
            let path = lab.directory + "/claims/subnet-10.201.0.0"
            let lock = try await lab.thread.run(.background) { try FileLock.wait(path) }
            request.descriptors = [lock.descriptor.number]
            let starting = try ChildProcess.spawn(request)
            lock.descriptor.close()
            let network = try await lab.open()
            waitpid(starting.pid, nil, 0)
            let slot = try await network.adopt(index: left.index, process: left.machine.pid)
            await network.release(slot)
        }
    }

    /// A daemon that starts while another one is down leaves that one's machines alone, though nobody holds their subnet.
    @Test func anotherDaemonLeavesMachinesOfOneThatIsDownAlone() async throws {
        try await NetworkLab.with { lab in
            let left = try await firstDaemon(lab)
            defer { end(left.machine) }
            // Until the first daemon's claim is gone with its memory of the network.
            let lock = "\(lab.directory)/claims/subnet-10.201.0.0"
            try await lab.thread.run(.background) { try FileLock.wait(lock) }.release()
            var other = lab.configuration
            other.directory = lab.directory + "/other"
            defer {
                unlink(other.directory + "/subnet")
                rmdir(other.directory)
            }
            let neighbour = try await lab.open(other)
            #expect(await neighbour.report().subnet.description == "10.202.0.0/16")
            await neighbour.recovered()
            #expect(try await links(lab).contains("mt201-\(left.index)"))
            let network = try await lab.open()
            let slot = try await network.adopt(index: left.index, process: left.machine.pid)
            await network.release(slot)
            withExtendedLifetime(neighbour) {}
        }
    }
}
