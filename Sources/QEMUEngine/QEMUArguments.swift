import SandboxModel

/// What runs guest instructions.
package enum Accelerator: String, Sendable, Codable {
    case kvm
    case tcg
}

/// The command line of one QEMU. What shapes the virtual machine is the same at capture and restore, or the state
/// does not fit; everything else may differ.
package struct QEMUArguments: Sendable {
    /// Whether the machine is started from its kernel or from a capture.
    package enum Role: Sendable {
        /// Boots.
        case boot(kernel: String, initramfs: String, commandLine: String)
        /// Waits for a captured state.
        case restore
    }

    /// How guest memory and the file `memory` belong together.
    package enum MemoryAccess: Sendable {
        /// They are the same: the file holds the image afterwards.
        case shared
        /// The file is only read, and mapped copy-on-write.
        case copyOnWrite
    }

    /// Descriptors the child is started with.
    package enum ChildDescriptor {
        package static let qmp: Int32 = 3
        package static let guest: Int32 = 4
        package static let deviceState: Int32 = 5
        /// The tap of the network card; only where there is one.
        package static let tap: Int32 = 6
    }

    /// How much of the console's end is kept, in bytes; a power of two.
    package static let consoleBytes = 65_536

    package var accelerator: Accelerator
    package var shape: MachineShape
    package var memory: String
    package var memoryAccess: MemoryAccess
    /// The qcow2 file the guest writes to.
    package var disk: String
    /// What it stands on: a raw image, then qcow2 layers.
    package var baseDisks: [String]
    package var role: Role
    /// MiB for TCG's translated code.
    package var translationBufferMiB: Int
    /// A file for the console of a boot; nil keeps its end in memory.
    package var consoleFile: String?
    /// Whether the machine has a network card, whose other end is `ChildDescriptor.tap`.
    package var hasNetworkCard = false
    /// Whether a boot waits to be told to begin.
    package var startsStopped = false
    /// What the process is called, so that it is found by it.
    package var name = "martlet"

    package init(
        accelerator: Accelerator, shape: MachineShape, memory: String, memoryAccess: MemoryAccess, disk: String,
        baseDisks: [String], role: Role, translationBufferMiB: Int, consoleFile: String?
    ) {
        self.accelerator = accelerator
        self.shape = shape
        self.memory = memory
        self.memoryAccess = memoryAccess
        self.disk = disk
        self.baseDisks = baseDisks
        self.role = role
        self.translationBufferMiB = translationBufferMiB
        self.consoleFile = consoleFile
    }

    /// Memory with which SeaBIOS, QEMU's own choice, does not get a machine to boot: with exactly 2 GiB it gives the disk
    /// addresses beyond the memory's end ("virtio-blk missing headers" in QEMU's log; seen with QEMU 10.0.2, SeaBIOS 1.16).
    private static let memoryForOtherFirmware = 2048

    private static func firmware(_ shape: MachineShape) -> [String] {
        shape.memoryMiB == memoryForOtherFirmware ? ["-bios", "qboot.rom"] : []
    }

    /// The part that shapes the machine.
    package static func machine(
        _ accelerator: Accelerator, _ shape: MachineShape, hasNetworkCard: Bool
    ) -> [String] {
        var list = firmware(shape)
        list += [
            "-M", "microvm,acpi=on,pcie=off,rtc=on,usb=off,memory-backend=mem",
            "-cpu", accelerator == .kvm ? "host" : tcgProcessor,
            "-m", "\(shape.memoryMiB)M",
            "-smp", "\(shape.cpus)",
            "-device", "virtio-serial-device,max_ports=4",
            "-device", "virtserialport,chardev=guest,name=martlet.guest.0,nr=1",
            // A full host disk is an error the guest sees; by default QEMU would stop the guest and wait for somebody.
            "-device", "virtio-blk-device,drive=root,werror=report,rerror=report",
            "-device", "virtio-rng-device,rng=rng",
            "-serial", "chardev:console",
        ]
        guard hasNetworkCard else { return list }
        return list + [
            // Checksums and segmentation are left to the host's kernel: the tap hands over what the guest's did not do.
            "-netdev", "tap,id=net0,fd=\(ChildDescriptor.tap),vhost=off",
            // A restored machine is not announced to its network: it is another one, with nobody on it who knew it.
            "-device", "virtio-net-device,netdev=net0,mac=\(GuestNetwork.guestMAC),guest_announce=off",
        ]
    }

    /// Every feature the emulator has.
    package static let tcgProcessor = "max"

    /// The whole argument list, without the program's name.
    package func build() -> [String] {
        var list = [
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", QEMUArguments.escaped(name),
        ]
        switch accelerator {
        case .kvm: list += ["-accel", "kvm"]
        case .tcg: list += ["-accel", "tcg,thread=multi,tb-size=\(translationBufferMiB)"]
        }
        list += ["-object", memoryObject]
        list += ["-object", "rng-random,id=rng,filename=/dev/urandom"]
        list += ["-chardev", "socket,id=qmp,fd=\(ChildDescriptor.qmp),server=on,wait=off"]
        list += ["-mon", "chardev=qmp,mode=control"]
        list += ["-chardev", "socket,id=guest,fd=\(ChildDescriptor.guest),server=on,wait=off"]
        if let consoleFile {
            list += ["-chardev", "file,id=console,path=\(QEMUArguments.escaped(consoleFile))"]
        } else {
            list += ["-chardev", "ringbuf,id=console,size=\(QEMUArguments.consoleBytes)"]
        }
        list += ["-blockdev", BlockNode.overlay(BlockNode.root, disk, on: .files(baseDisks))]
        list += QEMUArguments.machine(accelerator, shape, hasNetworkCard: hasNetworkCard)
        list += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
        switch role {
        case .boot(let kernel, let initramfs, let commandLine):
            list += ["-kernel", kernel, "-initrd", initramfs, "-append", commandLine]
            if startsStopped { list.append("-S") }
        case .restore:
            list += ["-incoming", "defer", "-global", "migration.send-configuration=off"]
            if hasNetworkCard { list += ["-global", "migration.announce-rounds=0"] }
        }
        return list
    }

    private var memoryObject: String {
        let access =
            switch memoryAccess {
            case .shared: "share=on"
            case .copyOnWrite: "share=off,readonly=on,rom=off"
            }
        return "memory-backend-file,id=mem,size=\(shape.memoryMiB)M,mem-path=\(QEMUArguments.escaped(memory)),\(access)"
    }

    /// A value in QEMU's option lists: a comma is written twice.
    package static func escaped(_ value: String) -> String {
        value.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }

    /// The guest kernel's command line.
    ///
    /// `tsc…`: under emulation the kernel's calibration of the time stamp counter fails on a busy host and hangs, so
    /// it is told the rate. `mitigations=off`: the wall is the virtual machine; inside it there is one tenant.
    ///
    /// - Parameter hasNetworkCard: the agent is told the card's address, and by which gateway the rest is reached.
    package static func kernelCommandLine(
        _ accelerator: Accelerator, tscKilohertz: UInt64, hasNetworkCard: Bool
    ) -> String {
        var words = [
            "console=ttyS0", "quiet", "loglevel=4", "panic=-1", "reboot=t", "rdinit=/init", "mitigations=off",
            "audit=0", "nowatchdog", "psi=0", "random.trust_cpu=on", "cgroup_no_v1=all",
        ]
        if accelerator == .tcg, tscKilohertz > 0 {
            words += ["tsc=reliable", "tsc_early_khz=\(tscKilohertz)", "no_timer_check"]
        }
        if hasNetworkCard {
            words += [
                "martlet.address=\(GuestNetwork.address)/\(GuestNetwork.prefixLength)",
                "martlet.gateway=\(GuestNetwork.gateway)", "martlet.mtu=\(GuestNetwork.mtu)",
            ]
        }
        return words.joined(separator: " ")
    }
}
