import SandboxModel

/// The devices of a machine, and where their files are in its root. What shapes the virtual machine is the same at capture
/// and restore, for a state holds the paths, too: each process has a root of its own, so that no two of them meet.
struct MachineLayout: Sendable {
    var shape: MachineShape
    var hasNetworkCard: Bool

    /// Files in a process's root.
    enum File {
        static let kernel = "vmlinux"
        static let initramfs = "initramfs"
        static let disk = "disk"
        /// What is loaded.
        static let (memory, state) = ("memory", "state")
        /// What is captured.
        static let (capturedMemory, capturedState) = ("captured-memory", "captured-state")
        static let guestSocket = "guest.sock"
    }

    static let drive = "root"
    static let card = "eth0"
    /// The port the agent listens at.
    static let port: UInt32 = 1025
    /// The guest's own address: the least there is for one (vsock(7)).
    private static let guest: UInt32 = 3

    /// All of it, as text: two machines with the same are interchangeable.
    var description: String {
        "\(shape.cpus) cpus, \(shape.memoryMiB) MiB, drive, vsock \(MachineLayout.port), entropy"
            + (hasNetworkCard ? ", card" : "")
    }

    /// The guest kernel's command line.
    ///
    /// `mitigations=off`: the wall is the virtual machine; inside it there is one tenant. `i8042…`: there is a keyboard
    /// controller, which only knows how to restart the machine, and that is how the machine ends.
    var kernelCommandLine: String {
        var words = [
            "console=ttyS0", "quiet", "loglevel=4", "panic=-1", "reboot=k", "pci=off", "i8042.noaux", "i8042.nomux",
            "i8042.nopnp", "i8042.dumbkbd", "rdinit=/init", "mitigations=off", "audit=0", "nowatchdog", "psi=0",
            "random.trust_cpu=on", "cgroup_no_v1=all", "martlet.vsock=\(MachineLayout.port)",
        ]
        if hasNetworkCard {
            words += [
                "martlet.address=\(GuestNetwork.address)/\(GuestNetwork.prefixLength)",
                "martlet.gateway=\(GuestNetwork.gateway)", "martlet.mtu=\(GuestNetwork.mtu)",
            ]
        }
        return words.joined(separator: " ")
    }

    /// Gives a fresh process its devices, and has it boot.
    ///
    /// - Parameter tap: the host's end of the card.
    func boot(_ api: FirecrackerAPI, tap: String?) async throws {
        try await api.configure(.init(cpus: shape.cpus, memoryMiB: shape.memoryMiB))
        try await api.setBootSource(
            .init(kernel: "/\(File.kernel)", initramfs: "/\(File.initramfs)", commandLine: kernelCommandLine))
        try await api.add(.init(MachineLayout.drive, path: "/\(File.disk)", isReadOnly: false))
        if hasNetworkCard, let tap {
            try await api.add(.init(MachineLayout.card, tap: tap, hardwareAddress: GuestNetwork.guestMAC))
        }
        try await api.setVsock(.init(guest: MachineLayout.guest, path: "/\(File.guestSocket)"))
        try await api.addEntropy()
        try await api.start()
    }

    /// Makes a fresh process the machine that was captured, and lets it run.
    func load(_ api: FirecrackerAPI, tap: String?) async throws {
        let taps = hasNetworkCard ? tap.map { [MachineLayout.card: $0] } : nil
        try await api.loadSnapshot(
            .init(state: "/\(File.state)", memory: "/\(File.memory)", resumes: true, taps: taps ?? [:]))
    }
}
