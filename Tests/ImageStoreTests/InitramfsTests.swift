import Foundation
import LinuxSystem
import SandboxModel
import Testing

@testable import ImageStore

@Suite struct InitramfsTests {
    /// A store with a kernel that has modules for all guests, and, if wanted, some for vsock.
    private func with(
        vsock: Bool, _ body: (StoreLayout, _ build: (InitramfsBuilder.Channel) throws -> [UInt8]) throws -> Void
    ) throws {
        let layout = StoreLayout(directory: NSTemporaryDirectory() + "martlet-initramfs-\(UUID().uuidString.prefix(8))")
        defer { try? FileManager.default.removeItem(atPath: layout.directory) }
        try layout.makeDirectories()
        let kernel = layout.part(.kernels, "k")
        var files = ["modules/virtio.ko": "VIRTIO", "modules/order": "virtio.ko\n"]
        if vsock { files.merge(["vsock/vsock.ko": "SOCKETS", "vsock/order": "vsock.ko\n"]) { $1 } }
        for (name, text) in files {
            let path = "\(kernel)/\(name)"
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try AtomicFile.write(Array(text.utf8), to: path)
        }
        let agent = "\(layout.directory)/agent"
        try AtomicFile.write(Array("AGENT".utf8), to: agent)
        try body(layout) { channel in
            let builder = InitramfsBuilder(
                layout: layout, kernel: "k", agent: agent, agentDigest: Digest.hex(of: Array("AGENT".utf8)),
                channel: channel)
            return try AtomicFile.read(builder.build())
        }
    }

    private func contains(_ archive: [UInt8], _ text: String) -> Bool {
        Data(archive).range(of: Data(text.utf8)) != nil
    }

    @Test func guestsThatAreReachedByAPortHaveNothingOfVsock() throws {
        var archives: [[UInt8]] = []
        for vsock in [false, true] { try with(vsock: vsock) { _, build in archives.append(try build(.port)) } }
        #expect(archives[0] == archives[1])
        #expect(contains(archives[1], "VIRTIO") && contains(archives[1], "AGENT"))
        #expect(!contains(archives[1], "vsock"))
    }

    @Test func thoseThatAreReachedByVsockLoadItsModulesLast() throws {
        try with(vsock: true) { _, build in
            let archive = try build(.vsock)
            #expect(contains(archive, "VIRTIO") && contains(archive, "SOCKETS") && contains(archive, "AGENT"))
            #expect(contains(archive, "virtio.ko\nvsock.ko\n"))
            // Each has an address of its own, so that neither is ever taken for the other.
            #expect(try build(.port) != archive)
            #expect(try build(.vsock) == archive)
        }
    }
}
