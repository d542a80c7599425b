import QEMUEngine
import SandboxModel
import Testing

@Suite struct QEMUArgumentsTests {
    private func arguments(
        _ role: QEMUArguments.Role, _ accelerator: Accelerator = .tcg,
        access: QEMUArguments.MemoryAccess = .copyOnWrite, hasNetworkCard: Bool = false
    ) throws -> [String] {
        var arguments = QEMUArguments(
            accelerator: accelerator, shape: try MachineShape(cpus: 2, memoryMiB: 512), memory: "/d/a,b/memory",
            memoryAccess: access, disk: "/m/disk.qcow2", baseDisks: ["/d/root.img", "/d/disk.qcow2"], role: role,
            translationBufferMiB: 32, consoleFile: nil)
        arguments.hasNetworkCard = hasNetworkCard
        return arguments.build()
    }

    /// The value behind an option.
    private func value(_ list: [String], _ option: String) -> String? {
        list.firstIndex(of: option).map { list[$0 + 1] }
    }

    @Test func `a restored machine can only read the image it starts from`() throws {
        let list = try arguments(.restore)
        #expect(
            value(list, "-object")
                == "memory-backend-file,id=mem,size=512M,mem-path=/d/a,,b/memory,share=off,readonly=on,rom=off")
        #expect(value(list, "-incoming") == "defer")
        #expect(!list.contains("-kernel"))
    }

    @Test func `two gigabytes are booted by the firmware that can`() throws {
        for (memory, firmware) in [(2046, nil), (2048, "qboot.rom"), (2050, nil)] as [(Int, String?)] {
            let shape = try MachineShape(cpus: 1, memoryMiB: memory)
            #expect(value(QEMUArguments.machine(.tcg, shape, hasNetworkCard: true), "-bios") == firmware)
        }
    }

    @Test func `a boot writes its memory into the file that becomes the image`() throws {
        let list = try arguments(
            .boot(kernel: "/k", initramfs: "/i", commandLine: "quiet"), access: .shared)
        #expect(value(list, "-object")?.hasSuffix(",share=on") == true)
        #expect(value(list, "-kernel") == "/k")
        #expect(value(list, "-append") == "quiet")
        #expect(!list.contains("-incoming"))
    }

    @Test func `what shapes the machine is the same at boot and restore`() throws {
        let shape = try MachineShape(cpus: 2, memoryMiB: 512)
        for hasCard in [false, true] {
            let machine = QEMUArguments.machine(.tcg, shape, hasNetworkCard: hasCard).joined(separator: " ")
            for role in [QEMUArguments.Role.restore, .boot(kernel: "/k", initramfs: "/i", commandLine: "")] {
                #expect(try arguments(role, hasNetworkCard: hasCard).joined(separator: " ").contains(machine))
            }
        }
    }

    @Test func `a network card is a tap that was handed over, and shapes the machine`() throws {
        let list = try arguments(.restore, hasNetworkCard: true)
        #expect(value(list, "-netdev") == "tap,id=net0,fd=6,vhost=off")
        #expect(list.contains("virtio-net-device,netdev=net0,mac=\(GuestNetwork.guestMAC),guest_announce=off"))
        // Nothing is said on its network before the guest itself says something.
        #expect(list.contains("migration.announce-rounds=0"))
        let shape = try MachineShape(cpus: 2, memoryMiB: 512)
        let without = QEMUArguments.machine(.tcg, shape, hasNetworkCard: false)
        #expect(QEMUArguments.machine(.tcg, shape, hasNetworkCard: true).starts(with: without))
        #expect(!without.joined().contains("net"))
        #expect(try !arguments(.restore).joined().contains("-netdev"))
    }

    @Test func `the guest is told the address that all guests have`() {
        let words = QEMUArguments.kernelCommandLine(.tcg, tscKilohertz: 0, hasNetworkCard: true).split(separator: " ")
        #expect(words.contains("martlet.address=192.0.0.2/30"))
        #expect(words.contains("martlet.gateway=192.0.0.1"))
        let without = QEMUArguments.kernelCommandLine(.tcg, tscKilohertz: 0, hasNetworkCard: false)
        #expect(!without.contains("martlet"))
    }

    @Test func `the emulator may not start programs or raise its privileges`() throws {
        let policy = try #require(value(arguments(.restore), "-sandbox"))
        #expect(policy == "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
    }

    @Test func `the translation buffer is bounded under emulation and absent under KVM`() throws {
        #expect(value(try arguments(.restore), "-accel") == "tcg,thread=multi,tb-size=32")
        #expect(value(try arguments(.restore, .kvm), "-accel") == "kvm")
    }

    @Test func `the guest kernel is told the rate of the time stamp counter only under emulation`() {
        #expect(
            QEMUArguments.kernelCommandLine(.tcg, tscKilohertz: 2_445_404, hasNetworkCard: false).contains(
                "tsc_early_khz=2445404"))
        #expect(
            !QEMUArguments.kernelCommandLine(.kvm, tscKilohertz: 2_445_404, hasNetworkCard: false).contains(
                "tsc_early_khz"))
    }

    @Test(arguments: [
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\n", "10.0.2"), ("QEMU emulator version 8.2\n", "8.2"),
    ])
    func `versions are read from what QEMU prints`(text: String, expected: String) {
        #expect(QEMUInstallation.parseVersion(text)?.text == expected)
    }

    @Test func `what is no version is refused`() {
        #expect(QEMUInstallation.parseVersion("hello") == nil)
        #expect(QEMUInstallation.parseVersion("version x.y") == nil)
    }

    @Test func `text goes into the monitor's JSON escaped`() {
        #expect(jsonString("a\"b\\c\nd") == "\"a\\\"b\\\\c\\u000ad\"")
    }
}
