import GuestProtocol
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization

extension Node {
    /// What children are made of.
    private struct ForkImage: Sendable {
        var image: MachineImage
        var file: SandboxFile
        var engine: any SandboxEngine
        var report: CaptureReport
    }

    package func fork(_ source: ForkSource, into children: [ForkSpec]) async throws -> ForkOutcome {
        switch source {
        case .snapshot(let id):
            return try await withSnapshot(id) { try await self.fork($0, into: children) }
        case .sandbox(let id):
            return try await forkSandbox(id, into: children)
        }
    }

    private func fork(_ capture: StoredCapture, into children: [ForkSpec]) async throws -> ForkOutcome {
        var report = capture.manifest.report
        report.pauseMilliseconds = 0
        let engine = try await restorable(capture)
        return await make(
            children,
            from: ForkImage(image: capture.image, file: capture.manifest.sandbox, engine: engine, report: report))
    }

    private func forkSandbox(_ id: SandboxID, into children: [ForkSpec]) async throws -> ForkOutcome {
        let lock = lock(for: id)
        if paused[id] != nil {
            // Kept as it is until the children run.
            let outcome = try await lock.withLock { () -> ForkOutcome? in
                guard let sleeper = await self.paused[id] else { return nil }
                return try await self.fork(sleeper.capture, into: children)
            }
            if let outcome { return outcome }
        }
        let fresh = try await lock.withLock { try await self.captureForFork(id, children.count) }
        guard let engine = engines.first(where: { $0.name == fresh.file.isolation.engine }) else { throw unknown(id) }
        let outcome = await make(
            children,
            from: ForkImage(image: fresh.image, file: fresh.file, engine: engine, report: fresh.report))
        owner.start { [self] in await discard(fresh.staged) }
        return outcome
    }

    private func captureForFork(_ id: SandboxID, _ count: Int) async throws -> FreshCapture {
        guard let sandbox = running[id] else { throw notRunning(id, "fork") }
        try require(.fork, "fork", sandbox.file)
        expectForks(of: sandbox.imageDigest, count)
        return try await capture(sandbox, CaptureOptions(resumes: true))
    }

    /// From so many bytes on that children would hold a copy of each, they get a base of their own to share.
    private static let mergeThreshold: UInt64 = 256 << 20

    /// Puts what the source has written into a base of its own, when there are many children and much of it.
    private func shared(_ source: ForkImage, by count: Int) async -> ForkImage {
        guard let pages = source.image.pages, !source.image.memory.isEmpty, count > 1,
            source.report.memoryBytes * UInt64(count) > Node.mergeThreshold
        else { return source }
        do {
            let store = store
            var source = source
            let (image, origin) = (source.image, source.file.origin)
            source.image = try await NIOThreadPool.singleton.runIfActive {
                try store.bases.merge(image, pages, origin)
            }
            var base = source.image
            base.layers = []
            source.file.base = base
            return source
        } catch {
            logger.warning("children will not share what was written", metadata: ["error": "\(error)"])
            return source
        }
    }

    private func make(_ children: [ForkSpec], from given: ForkImage) async -> ForkOutcome {
        makingBases += 1
        let source = await shared(given, by: children.count)
        defer {
            makingBases -= 1
            if source.image.digest != given.image.digest {
                collectMergedBases()
                let digest = source.image.digest
                owner.start { [store] in
                    _ = try? await NIOThreadPool.singleton.runIfActive { try store.bases.flush(digest) }
                }
            }
        }
        let outcomes = ForkResults()
        await withTaskGroup(of: Void.self) { group in
            for (index, child) in children.enumerated() {
                group.addTask { outcomes.set(index, await self.outcome(of: child, from: source)) }
            }
        }
        let made = outcomes.all
        return ForkOutcome(report: source.report, children: children.indices.compactMap { made[$0] })
    }

    private func outcome(
        of child: ForkSpec, from source: ForkImage
    ) async -> Result<NodeSandbox, MartletError> {
        do {
            return .success(try await make(child, from: source))
        } catch {
            return .failure(Node.asMartletError(error))
        }
    }

    private func make(_ child: ForkSpec, from source: ForkImage) async throws -> NodeSandbox {
        try check(child.network, hasNetworkCard: source.image.hasNetworkCard)
        return try await admitted {
            var watch = Stopwatch()
            var environment = child.environment
            if child.inheritsEnvironment {
                // The guest knows what programs were given before; this is for a boot from its disk.
                environment = source.file.environment + child.environment
            }
            let order = RestoreOrder(
                sandbox: child.id, image: source.image, engine: source.engine, network: child.network,
                thaw: Thaw.forFork(
                    hostname: child.hostname,
                    environment: (child.inheritsEnvironment ? [] : source.file.origin.environment) + child.environment,
                    inheritsEnvironment: child.inheritsEnvironment, user: source.file.origin.user,
                    network: child.network, besides: source.file.origin.environment + environment))
            let (spare, _) = try await handOut(order, &watch)
            var file = source.file
            file.id = child.id.rawValue
            file.hostname = child.hostname
            file.environment = environment
            file.generation = 0
            file.report = CreateReport(
                mode: .restored, totalMilliseconds: watch.totalMilliseconds, phases: watch.phases)
            return try await settle(spare, file, child.network)
        }
    }

    private static func asMartletError(_ error: any Error) -> MartletError {
        if let failure = Node.explained(error) as? MartletError { return failure }
        if error is CancellationError { return MartletError(.unavailable, "fork: it was called off") }
        return MartletError(.internal, "fork: \(error)")
    }
}

/// What became of each child, by its place. Optimised by Swift 6.3.1, a task group loses results of this size; so tasks
/// leave them here.
private final class ForkResults: Sendable {
    private let results = Mutex<[Int: Result<NodeSandbox, MartletError>]>([:])

    func set(_ index: Int, _ result: Result<NodeSandbox, MartletError>) {
        results.withLock { $0[index] = result }
    }

    var all: [Int: Result<NodeSandbox, MartletError>] { results.withLock { $0 } }
}
