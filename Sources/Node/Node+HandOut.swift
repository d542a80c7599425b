import GuestClient
import GuestProtocol
import LinuxSystem
import Logging
import SandboxEngine
import SandboxModel

extension Node {
    /// A machine that has confirmed its thaw: a warm one if there is one, else a shell, else a new one. A machine
    /// found dead on the way is replaced by the next kind. The one way in which sandboxes come to run, be they created,
    /// resumed, forked or rewound.
    func handOut(_ order: RestoreOrder, _ watch: inout Stopwatch) async throws -> (SpareMachine, CreateReport.Mode) {
        if let template = order.template {
            while let spare = takeWarm(template) {
                do {
                    async let ruled: Void = rule(spare.home, order)
                    try await spare.machine.resume()
                    watch.lap("continue")
                    try await thaw(spare.machine, order)
                    watch.lap("thaw")
                    // No program of it has run yet.
                    try await ruled
                    watch.lap("network")
                    return (spare, .warm)
                } catch {
                    await discard(spare, error)
                }
            }
        }
        while let spare = takeShell(order.image) {
            do {
                try await restoreAndThaw(spare, order, &watch)
                return (spare, .shell)
            } catch {
                await discard(spare, error)
                if Node.isDamage(error) { throw Node.explained(error) }
            }
        }
        let spare = try await startShell(order.image, order.engine)
        watch.lap("spawn")
        do {
            try await restoreAndThaw(spare, order, &watch)
        } catch {
            await dispose(spare.machine, spare.home)
            throw Node.explained(error)
        }
        return (spare, .cold)
    }

    /// Whether another machine would fail in the same way.
    private static func isDamage(_ error: any Error) -> Bool {
        (error as? MartletError)?.details["reason"] == "damaged"
    }

    private func discard(_ spare: SpareMachine, _ error: any Error) async {
        logger.warning("a machine kept ready could not be used", metadata: ["error": "\(error)"])
        await dispose(spare.machine, spare.home)
    }

    private func restoreAndThaw(
        _ spare: SpareMachine, _ order: RestoreOrder, _ watch: inout Stopwatch
    ) async throws {
        let machine = spare.machine
        async let ruled: Void = rule(spare.home, order)
        try await machine.restore(order.image)
        watch.lap("restore")
        if let origin = order.origin { try await startServices(origin, order.engine, machine) }
        // Programs that were captured go on with the thaw: what they may reach must be decided by then.
        try await ruled
        watch.lap("network")
        try await thaw(machine, order)
        watch.lap("thaw")
        mergeIfDeep(machine, order.image)
    }

    /// Starts the services of a template in a machine that was not captured with them running.
    func startServices(
        _ origin: SandboxOrigin, _ engine: any SandboxEngine, _ machine: any Machine
    ) async throws {
        guard let services = origin.services, !services.isEmpty, !engine.bakesTemplates else { return }
        try await machine.guest.startServices(services, environment: origin.environment)
    }

    /// Gives a guest the time, fresh randomness and an identity of its own; throws unless it confirms all of it.
    private func thaw(_ machine: any Machine, _ order: RestoreOrder) async throws {
        if let size = order.diskMiB { try await machine.growDisk(toMiB: size) }
        try await machine.guest.thaw(order.thaw())
    }

    /// Starts a shell in a home of its own; nothing is left when that fails.
    func startShell(_ image: MachineImage, _ engine: any SandboxEngine) async throws -> SpareMachine {
        let home = try await makeHome(hasNetworkCard: image.hasNetworkCard, for: engine)
        do {
            let machine = try await engine.startShell(
                image, in: home.directory, network: machineNetwork(of: home))
            return SpareMachine(machine: machine, home: home, imageDigest: image.digest)
        } catch {
            await giveUp(home)
            // The image may have been damaged under us: look at it afresh next time.
            for (key, known) in prepared where known.image.digest == image.digest { prepared[key] = nil }
            throw Node.explained(error)
        }
    }
}
