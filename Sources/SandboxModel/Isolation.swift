/// How a sandbox is walled off, said plainly to every client.
public struct Isolation: Sendable, Hashable, Codable {
    /// The engine that runs it, for example `qemu`.
    public var engine: String
    /// What executes guest instructions: `kvm` or `tcg` for a virtual machine, gVisor's platform (`systrap`, `ptrace`),
    /// `native` for processes of the host's own kernel.
    public var accelerator: String
    /// How strong the wall is.
    public var level: IsolationLevel

    public init(engine: String, accelerator: String, level: IsolationLevel) {
        self.engine = engine
        self.accelerator = accelerator
        self.level = level
    }
}

/// The ladder of isolation, strongest first; a stronger level is the greater one.
public enum IsolationLevel: String, Sendable, Codable, CaseIterable, Comparable {
    /// A virtual machine with its own kernel, kept apart by the processor.
    case hardwareVM = "hardware-vm"
    /// A kernel in user space between the program and the host (gVisor).
    case userKernel = "user-kernel"
    /// A virtual machine with its own kernel under software emulation. QEMU's policy does not count its
    /// emulator (TCG) as a security boundary, so neither do we.
    case emulatedVM = "emulated-vm"
    /// The host's kernel, with namespaces and filters only.
    case process = "process"

    private var rank: Int { IsolationLevel.allCases.firstIndex(of: self) ?? 0 }

    public static func < (left: IsolationLevel, right: IsolationLevel) -> Bool { left.rank > right.rank }
}
