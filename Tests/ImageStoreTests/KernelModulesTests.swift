import ImageStore
import Testing

@Suite struct KernelModulesTests {
    private let needs = [
        "virtio_net": ["virtio_ring", "virtio", "net_failover"], "virtio": ["virtio_ring"], "virtio_ring": [],
        "net_failover": ["failover"], "failover": [], "a": ["b"], "b": ["a"],
    ]

    @Test func ordersModulesAfterWhatTheyNeed() throws {
        let order = try KernelModules.order(["virtio_net", "ext4", "virtio"], builtin: ["ext4"]) { needs[$0] }.get()
        #expect(order == ["virtio_ring", "virtio", "failover", "net_failover", "virtio_net"])
    }

    @Test func namesAMissingModule() {
        let result = KernelModules.order(["virtio_net"], builtin: []) { $0 == "failover" ? nil : needs[$0] }
        guard case .failure(let missing) = result else {
            Issue.record("the missing module was not noticed")
            return
        }
        #expect(missing.name == "failover")
    }

    @Test func aCircleEnds() throws {
        #expect(try KernelModules.order(["a"], builtin: []) { needs[$0] }.get().sorted() == ["a", "b"])
    }

    @Test func readsDependenciesOfAModuleFile() {
        let bytes = Array("\u{7f}ELF..\0license=GPL\0xdepends=no\0depends=virtio,snd-pcm\0name=x\0".utf8)
        #expect(KernelModules.dependencies(ofModule: bytes) == ["virtio", "snd_pcm"])
        #expect(KernelModules.dependencies(ofModule: Array("\0depends=\0".utf8)).isEmpty)
        #expect(KernelModules.dependencies(ofModule: Array("\0depends".utf8)).isEmpty)
        #expect(KernelModules.dependencies(ofModule: []).isEmpty)
    }

    @Test func namesOfFiles() {
        #expect(KernelModules.name(ofFile: "virtio-rng.ko.xz") == "virtio_rng")
        #expect(KernelModules.name(ofFile: "modules.order") == nil)
        #expect(KernelModules.builtin("kernel/fs/ext4/ext4.ko\nkernel/lib/rng-core.ko\n") == ["ext4", "rng_core"])
    }

    @Test func followsAMetaPackage() {
        let fields = [
            "Package: linux-image-cloud-amd64",
            "Depends: initramfs-tools | x, linux-image-6.1.0-9-cloud-amd64 (= 6.1.2-1)",
        ]
        #expect(KernelBuilder.kernelBehind(meta: fields) == "linux-image-6.1.0-9-cloud-amd64")
        #expect(KernelBuilder.kernelBehind(meta: ["Depends: kmod"]) == nil)
    }
}
