import HostNetwork
import ImageStore
import Logging
import SandboxEngine
import SandboxModel

extension Node {
    /// The template a spec asks for, at its size and for its engine. The first create of a size bakes it where the engine
    /// captures; others wait for that.
    ///
    /// - Returns: the image, and whether it had to be baked now.
    func preparedImage(for spec: SandboxSpec) async throws -> (PreparedImage, Bool) {
        let template = try await images.template(named: spec.template)
        var spec = spec
        // Whatever the operator prefers for others.
        if template.isDerived, spec.isolation == .auto { spec.isolation = .microVM }
        let engine = try await engine(for: spec, template.definition)
        try checkDisk(of: template, engine)
        let shape = try MachineShape(
            cpus: spec.cpus ?? template.definition.cpus, memoryMiB: spec.memoryMiB ?? template.definition.memoryMiB,
            maxCPUs: max(HostFacts.processors, template.definition.cpus),
            maxMemoryMiB: Int(HostFacts.memory().total >> 20))
        let key = PreparedImage.Key(template: template.name, shape: shape, engine: engine.name)
        if let image = prepared[key], image.origin.templateID == template.id { return (image, false) }
        let bakes = BakeMark()
        let image = try await preparing.value(for: key) { [self] in
            try await prepare(template, key, engine, bakes) { _ in }
        }
        prepared[key] = image
        return (image, bakes.isSet)
    }

    /// A file system that a guest has written is for guests: a machine gets it as a disk, but an engine without machines
    /// would have this host's kernel read it.
    ///
    /// - Throws: `unsupported`.
    private func checkDisk(of template: TemplateImage, _ engine: any SandboxEngine) throws(MartletError) {
        guard template.isDerived, !engine.bakesTemplates else { return }
        throw MartletError(
            .unsupported,
            "isolation: \(engine.name) cannot start from a template that was built out of another one: its disk was written "
                + "by a guest, and this engine would open it on the host. Use 'microvm'",
            details: ["field": "isolation"])
    }

    /// Finds the capture or bakes it.
    func prepare(
        _ template: TemplateImage, _ key: PreparedImage.Key, _ engine: any SandboxEngine, _ bakes: BakeMark,
        progress: @escaping @Sendable (String) -> Void
    ) async throws -> PreparedImage {
        let definition = template.definition
        let environment = definition.env.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let initramfs =
            switch engine.channel {
            case .port: template.initramfs
            case .vsock: try await images.vsockInitramfs(of: template)
            }
        let boot = BootImage(
            kernel: template.kernel, initramfs: initramfs, rootDisk: template.rootDisk, shape: key.shape,
            warmup: definition.warmup, services: definition.services, environment: environment)
        let hasCard = network != nil && engine.capabilities.contains(.network)
        let identity = try await engine.identity(for: boot, hasNetworkCard: hasCard)
        let captureKey = CaptureKey(
            templateID: template.id, cpus: key.shape.cpus, memoryMiB: key.shape.memoryMiB, engine: identity.engine,
            engineVersion: identity.version, machineArgumentsDigest: identity.machine)
        let origin = SandboxOrigin(
            compatibility: try await engine.compatibility(of: key.shape, hasNetworkCard: hasCard),
            kernel: template.kernel, initramfs: initramfs, kernelVersion: template.kernelVersion,
            environment: environment, user: definition.user, templateID: template.id, services: definition.services)
        func prepared(_ image: MachineImage) -> PreparedImage {
            PreparedImage(
                key: key, engine: engine, image: image, diskMiB: definition.diskMiB, origin: origin,
                rehearsal: definition.rehearsal)
        }
        let diskBytes = UInt64(definition.diskMiB) << 20
        guard engine.bakesTemplates else {
            return prepared(
                MachineImage(
                    digest: captureKey.digest, memory: "", baseDisks: [template.rootDisk], shape: key.shape,
                    deviceState: "", diskBytes: diskBytes, hasNetworkCard: hasCard))
        }
        var capture = try await images.capture(for: captureKey)
        if capture == nil {
            bakes.set()
            logger.info(
                "baking a capture", metadata: ["template": "\(key.template)", "memory.mb": "\(key.shape.memoryMiB)"])
            let staged = try await images.stageCapture()
            do {
                try await bake(boot, engine, into: staged.directory, progress: progress)
                capture = try await images.commit(staged, key: captureKey, details: ["template": key.template])
            } catch {
                await images.discard(staged)
                throw Node.explained(error)
            }
        }
        guard let capture else { throw MartletError(.internal, "prepare: \(key.template): its capture vanished") }
        return prepared(
            MachineImage(
                digest: captureKey.digest, memory: capture.memory, baseDisks: [template.rootDisk, capture.disk],
                shape: key.shape, deviceState: capture.deviceState, diskBytes: diskBytes, hasNetworkCard: hasCard))
    }

    /// Captures an image in a network of its own that reaches nothing.
    private func bake(
        _ boot: BootImage, _ engine: any SandboxEngine, into directory: String,
        progress: @escaping @Sendable (String) -> Void
    ) async throws {
        let slot = try await network?.lease()
        let outcome: Result<Void, any Error>
        do {
            let home = MachineHome(directory: directory, slot: slot)
            try await engine.bake(boot, into: directory, network: machineNetwork(of: home), progress: progress)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        if let slot { await network?.release(slot) }
        try outcome.get()
    }
}
