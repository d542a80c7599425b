import GuestClient
import GuestProtocol
import LinuxSystem
import Logging
import SandboxEngine
import SandboxModel

extension Node {
    /// A warm guest of this image, or nil. Its slot is refilled in the background.
    func takeWarm(_ image: PreparedImage) -> SpareMachine? {
        markHot(image)
        while let spare = pools[image.key]?.warm.popLast() {
            if spare.imageDigest == image.image.digest, spare.machine.guest.isOpen { return spare }
            retire(spare)
        }
        return nil
    }

    /// A shell of this image's base, or nil. Its slot is refilled in the background.
    func takeShell(_ image: MachineImage) -> SpareMachine? {
        let matching = prepared.first { $0.value.image.digest == image.digest }
        guard let (key, template) = matching, template.image.diskBytes == image.diskBytes else { return nil }
        // Without baking a shell has begun already, and cannot become what was captured.
        guard template.engine.bakesTemplates || !image.isCaptured else { return nil }
        while let spare = pools[key]?.shells.popLast() {
            if spare.imageDigest == image.digest, spare.machine.guest.isOpen { return spare }
            retire(spare)
        }
        return nil
    }

    private func markHot(_ image: PreparedImage) {
        guard configuration.pool.isEnabled, pools[image.key] == nil else { return }
        pools[image.key] = MachinePool()
        signalRefill()
    }

    /// Remembers that sandboxes of a base are forked: who forks once into many does so again.
    func expectForks(of digest: String, _ count: Int) {
        guard configuration.pool.isEnabled,
            let (key, template) = prepared.first(where: { $0.value.image.digest == digest }),
            template.engine.bakesTemplates
        else { return }
        let now = Clocks.monotonicNanoseconds
        let until = now + configuration.pool.forkMemory.inNanoseconds
        let known = pools[key]?.wantedShells(0, now: now) ?? 0
        pools[key, default: MachinePool()].expectedForks = (max(count, known), until)
        owner.start { [self] in
            // Nobody forked again: what was kept ready for it goes.
            try? await Task.sleep(for: configuration.pool.forkMemory + .milliseconds(100))
            await trimShells(key)
        }
    }

    private func trimShells(_ key: PreparedImage.Key) {
        guard let pool = pools[key] else { return }
        let wanted = pool.wantedShells(configuration.pool.shells, now: Clocks.monotonicNanoseconds)
        while pools[key]?.shells.count ?? 0 > wanted, let spare = pools[key]?.shells.popLast() { retire(spare) }
    }

    private func retire(_ spare: SpareMachine) {
        owner.start { [self] in await dispose(spare.machine, spare.home) }
    }

    func signalRefill() { refillSignal.yield() }

    /// Makes a template ready without anybody having asked for it yet; one that is not built is left alone.
    func warmUp(_ template: String) {
        owner.start { [weak self] in
            guard let self else { return }
            do {
                let spec = SandboxSpec(id: .random(), template: template, hostname: template)
                let (image, _) = try await preparedImage(for: spec)
                await markHot(image)
            } catch {
                logger.debug("template is not made ready", metadata: ["template": "\(template)", "why": "\(error)"])
            }
        }
    }

    /// Fills pools whenever something was taken, one machine at a time, and never while a create is under way: that
    /// one needs the processors more.
    func refillLoop() async {
        guard configuration.pool.isEnabled else { return }
        for await _ in refillSignals {
            while !Task.isCancelled, creating == 0, let key = neediestPool() {
                await fillOne(key)
            }
        }
    }

    private func neediestPool() -> PreparedImage.Key? {
        guard !isShuttingDown else { return nil }
        let held = pools.values.reduce(0) { $0 + $1.costMiB }
        let room = configuration.pool.memoryLimitMiB - held
        let now = Clocks.monotonicNanoseconds
        let wanting = pools.filter { key, pool in
            prepared[key] != nil && pool.warmCostMiB <= room
                && (pool.warm.count < configuration.pool.warm
                    || pool.shells.count < pool.wantedShells(configuration.pool.shells, now: now))
        }
        return wanting.min { $0.value.warm.count < $1.value.warm.count }?.key
    }

    private func fillOne(_ key: PreparedImage.Key) async {
        guard let image = prepared[key], let pool = pools[key] else { return }
        do {
            var spare = try await startShell(image.image, image.engine)
            if pool.warm.count < configuration.pool.warm {
                do {
                    try await warm(spare.machine, image)
                    spare.costMiB = try await Int(spare.machine.memory().private >> 20)
                    pools[key]?.warmCostMiB = spare.costMiB
                } catch {
                    await dispose(spare.machine, spare.home)
                    throw error
                }
                keep(spare, key, \.warm)
            } else {
                keep(spare, key, \.shells)
            }
        } catch {
            // A host that cannot start machines now is asked again when something changes, not in a loop. What was
            // ready is given up with the pool: in no list, nobody would end it.
            if !(error is CancellationError) {
                logger.warning("could not make a machine ready", metadata: ["error": "\(error)"])
            }
            let given = pools.removeValue(forKey: key)
            for spare in (given?.warm ?? []) + (given?.shells ?? []) { await dispose(spare.machine, spare.home) }
        }
    }

    private func keep(
        _ spare: SpareMachine, _ key: PreparedImage.Key, _ shelf: WritableKeyPath<MachinePool, [SpareMachine]>
    ) {
        guard !isShuttingDown, pools[key] != nil else { return retire(spare) }
        pools[key]?[keyPath: shelf].append(spare)
    }

    /// Lets a shell become a guest that has done once what a hand-out and a first command will ask of it, and stops
    /// it: under emulation code runs slowly the first time. What this thaw sets, the real one sets again.
    private func warm(_ machine: any Machine, _ image: PreparedImage) async throws {
        try await machine.restore(image.image)
        try await startServices(image.origin, image.engine, machine)
        try await machine.guest.thaw(
            Thaw.forCreate(
                hostname: "template-of-martlet-", environment: image.origin.environment, user: image.origin.user,
                diskMiB: nil)())
        for command in [["/bin/true"]] + image.rehearsal {
            let request = StartProcess(arguments: command, timeoutMilliseconds: 60_000)
            let outcome = try await machine.guest.exec(request, outputLimit: 4096)
            try await machine.guest.forget(outcome.pid)
            if outcome.exit.code != 0 {
                let said = (outcome.standardError + outcome.standardOutput).suffix(300)
                logger.warning(
                    "a rehearsal failed: what it prepares will be slower",
                    metadata: [
                        "template": "\(image.key.template)", "command": "\(command.joined(separator: " "))",
                        "exit.code": "\(outcome.exit.code)", "output": "\(String(decoding: said, as: UTF8.self))",
                    ])
            }
        }
        // What was not restored stands still as a whole.
        guard image.engine.bakesTemplates else { return try await machine.pause() }
        // The first capture of the sandbox should not be slower than the next.
        let held = try await machine.guest.hold(surveys: true)
        // Services wait in the machine for the thaw of who gets it; without any there is nothing to be held.
        if image.origin.services?.isEmpty ?? true {
            try await machine.guest.release()
        } else if !held.frozen {
            throw MartletError(.unavailable, "make ready: the services of the guest do not stand still")
        }
        try await machine.pause()
    }

    func drainPools() async {
        let spares = pools.values.flatMap { $0.shells + $0.warm }
        pools.removeAll()
        await withTaskGroup(of: Void.self) { group in
            for spare in spares {
                group.addTask { await self.dispose(spare.machine, spare.home) }
            }
        }
    }

    func poolReports() -> [PoolReport] {
        let targets = configuration.pool
        return pools.map { key, pool in
            PoolReport(
                template: key.template, shape: key.shape, engine: key.engine, shells: pool.shells.count,
                warm: pool.warm.count, targetShells: targets.shells, targetWarm: targets.warm)
        }
    }
}
