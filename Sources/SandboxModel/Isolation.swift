/// How a sandbox is walled off, said plainly to every client.
public struct Isolation: Sendable, Hashable, Codable {
    /// The engine that runs it, for example `qemu`.
    public var engine: String
    /// What executes guest instructions: `kvm` or `tcg`.
    public var accelerator: String
    /// How strong the wall is.
    public var level: IsolationLevel

    public init(engine: String, accelerator: String, level: IsolationLevel) {
        self.engine = engine
        self.accelerator = accelerator
        self.level = level
    }
}

/// The ladder of isolation, strongest first.
public enum IsolationLevel: String, Sendable, Codable, CaseIterable {
    /// A virtual machine with its own kernel, kept apart by the processor.
    case hardwareVM = "hardware-vm"
    /// A virtual machine with its own kernel under software emulation. QEMU's policy does not count its
    /// emulator (TCG) as a security boundary, so neither do we.
    case emulatedVM = "emulated-vm"
    /// A user-space kernel between the program and the host (gVisor).
    case userspaceKernel = "userspace-kernel"
    /// The host's kernel, with namespaces and filters only.
    case processJail = "process-jail"
}
