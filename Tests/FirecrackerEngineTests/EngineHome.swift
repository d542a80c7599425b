import Foundation
import Glibc
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// An engine with a directory and control groups of its own, and an image to be booted: the kernel of a template, and files
/// that are no more than their size.
struct EngineHome: Sendable {
    let directory: String
    let groups: String
    let engine: FirecrackerEngine
    let shape: MachineShape
    /// A page that is found again.
    let mark = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) }

    static func with(_ body: (EngineHome) async throws -> Void) async throws {
        let home = try EngineHome()
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(home)) } catch { outcome = .failure(error) }
        await home.engine.reclaimOthers(than: [])
        try? FileManager.default.removeItem(atPath: home.directory)
        try outcome.get()
    }

    private init() throws {
        directory = NSTemporaryDirectory() + "martlet-fce-\(UUID().uuidString.prefix(8))"
        groups = "test-\(UUID().uuidString.prefix(8))"
        shape = try MachineShape(cpus: 1, memoryMiB: 128)
        engine = EngineHome.engine(directory, groups)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        for (name, size) in [("root.img", 8 << 20), ("initramfs.img", 4096)] {
            let file = try Descriptor.open(path(name), O_RDWR | O_CREAT | O_EXCL, mode: 0o444)
            try file.writeAll([UInt8](repeating: 0x55, count: 4096))
            guard ftruncate(file.number, size) == 0 else { throw SystemError("truncate", name, errno: errno) }
        }
    }

    private static func engine(_ directory: String, _ groups: String) -> FirecrackerEngine {
        var configuration = FirecrackerEngine.Configuration(
            directory: "\(directory)/engine", groups: groups, folders: [RealFirecracker.folder])
        // Without a processor that virtualises no guest answers, however long it is waited for.
        configuration.patience = (.milliseconds(200), .milliseconds(500))
        return FirecrackerEngine(
            configuration: configuration, logger: Logger(label: "test"), group: MultiThreadedEventLoopGroup.singleton)
    }

    /// What a later daemon would have.
    func newEngine() -> FirecrackerEngine { EngineHome.engine(directory, groups) }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func make(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: true)
        return path(name)
    }

    /// Whether nothing is left of a machine.
    func isEmpty(_ name: String) -> Bool {
        ((try? FileManager.default.contentsOfDirectory(atPath: path(name))) ?? []).isEmpty
    }

    var boot: BootImage {
        BootImage(
            kernel: KernelImageTests.kernel ?? "", initramfs: path("initramfs.img"), rootDisk: path("root.img"),
            shape: shape)
    }

    func bootImage(hasNetworkCard: Bool) -> MachineImage {
        MachineImage(
            digest: "boot", memory: "", baseDisks: [path("root.img")], shape: shape, deviceState: "",
            diskBytes: 8 << 20, hasNetworkCard: hasNetworkCard)
    }

    /// A machine that was started, paused and captured, whether or not its guest got anywhere.
    func bake(hasNetworkCard: Bool = false) async throws -> MachineImage {
        let baked = try make("baked")
        let machine = try await engine.started(
            boot, from: bootImage(hasNetworkCard: hasNetworkCard), in: baked, network: hasNetworkCard ? network() : nil)
        try await machine.finish(into: baked)
        return MachineImage(
            digest: "baked", memory: "\(baked)/memory", baseDisks: [path("root.img"), "\(baked)/disk.raw"],
            shape: shape, deviceState: "\(baked)/device-state", diskBytes: 8 << 20, hasNetworkCard: hasNetworkCard)
    }

    private func network() async throws -> MachineNetwork {
        MachineNetwork(namespace: try await TapNamespace.make(tap: "tap0"), tapName: "tap0")
    }

    func shell(_ image: MachineImage, in name: String, tap: Bool = false) async throws -> FirecrackerMachine {
        let machine = try await engine.startShell(image, in: make(name), network: tap ? network() : nil)
        return try #require(machine as? FirecrackerMachine)
    }

    /// Restores a shell. Where no guest answers, that is the only thing that may be missing.
    func load(_ machine: FirecrackerMachine, _ image: MachineImage) async throws {
        do {
            try await machine.restore(image)
        } catch let error as MartletError where [.timeout, .unavailable].contains(error.code) {
            #expect(error.message.contains("guest"), "\(error)")
        }
    }

    /// Captures a machine that is not to go on.
    func capture(_ machine: FirecrackerMachine, into name: String) async throws -> MachineImage {
        try await machine.capture(into: make(name), resumes: false).image
    }

    /// Writes to a page of a machine's memory, in place of its guest.
    func write(_ bytes: [UInt8], page: UInt64, of machine: FirecrackerMachine) throws {
        try AtomicFile.write(bytes, to: path("page"))
        let memory = try ProcessMemory.mapping(of: "\(machine.process.rootPath)/memory", in: machine.pid)
        _ = try memory.fill([.init(page: page, count: 1)], from: Descriptor.open(path("page"), O_RDONLY), at: 0)
    }

    func read(_ path: String, at offset: UInt64) throws -> [UInt8] {
        try Descriptor.open(path, O_RDONLY).read(upTo: 4096, at: offset)
    }
}
