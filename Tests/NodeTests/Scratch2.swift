import Foundation
import GuestClient
import GuestProtocol
import ImageStore
import Logging
import NIOCore
import NIOPosix
import Node
import QEMUEngine
import SandboxEngine
import SandboxModel
import Testing
import LinuxSystem

@Suite(.serialized) struct Scratch2 {
    @Test func phases() async throws {
        let dir = NSTemporaryDirectory() + "scr-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: dir + "/qemu", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: dir) }
        let images = try ImageStore(directory: NodeFixture.imagesDirectory, templatesDirectory: "\(NodeFixture.repository)/templates", guestAgent: "\(NodeFixture.repository)/libexec/martlet-guest", logger: Logger(label: "x"))
        let engine = QEMUEngine(configuration: .init(directory: dir + "/qemu", translationBufferMiB: 64), logger: Logger(label: "x"), group: NIOSingletons.posixEventLoopGroup)
        let t = try await images.template(named: "base")
        let shape = try MachineShape(cpus: 1, memoryMiB: 256)
        let boot = BootImage(kernel: t.kernel, initramfs: t.initramfs, rootDisk: t.rootDisk, shape: shape, warmup: t.definition.warmup)
        let id = try await engine.identity(for: boot)
        let key = CaptureKey(templateID: t.id, cpus: 1, memoryMiB: 256, engine: id.engine, engineVersion: id.version, machineArgumentsDigest: id.machine)
        var cap = try await images.capture(for: key)
        if cap == nil {
            let st = try await images.stageCapture()
            try await engine.bake(boot, into: st.directory) { print($0) }
            cap = try await images.commit(st, key: key, details: ["template": "base"])
        }
        let image = MachineImage(digest: key.digest, memory: cap!.memory, deviceState: cap!.deviceState, disk: cap!.disk, shape: shape)
        func ms(_ b: () async throws -> Void) async throws -> Double { let s = Clocks.monotonicNanoseconds; try await b(); return Double(Clocks.monotonicNanoseconds - s) / 1e6 }
        for i in 0..<10 {
            let d = dir + "/m\(i)"
            try FileManager.default.createDirectory(atPath: d, withIntermediateDirectories: true)
            let m = try await engine.startShell(image, in: d, diskMiB: 4096)
            try await Task.sleep(for: .milliseconds(150))
            var out = "\(i)"
            out += String(format: " mem %.1f", Double(try await m.memory().private) / 1048576)
            out += String(format: " restore %.1f", try await ms { try await m.restore() })
            if i % 2 == 0 {
                out += String(format: " ping %.1f", try await ms { _ = try await m.guest.ping() })
                out += String(format: " ping %.1f", try await ms { _ = try await m.guest.ping() })
            }
            func thaw() async throws { try await m.guest.thaw(Thaw(wallClockNanoseconds: Clocks.realtimeNanoseconds, entropy: [UInt8](repeating: 3, count: 64), hostname: "h\(i)", machineID: "0123456789abcdef0123456789abcdef", environment: ["A=b"])) }
            out += String(format: " thaw %.1f", try await ms { try await thaw() })
            out += String(format: " thaw %.1f", try await ms { try await thaw() })
            out += String(format: " mem %.1f", Double(try await m.memory().private) / 1048576)
            print("S", out)
            if i == 9, let p = ProcessInfo.processInfo.environment["KEEP"] { print("sleeping", p); try await Task.sleep(for: .seconds(Int(p)!)) }
            if i == 9 { let o = try await m.guest.exec(StartProcess(arguments: ["cat", "/proc/kallsyms"]), outputLimit: 32 << 20); try Data(o.standardOutput).write(to: URL(fileURLWithPath: "/tmp/inasm/kallsyms")) }
            await m.kill()
        }
    }
}
