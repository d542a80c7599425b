import Foundation
import Glibc
import GuestClient
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// The engine against the real Firecracker and jailer. Where the processor does not virtualise its guests get nowhere, but
/// all that is done to them from outside can be done all the same; what takes a guest that answers is in
/// `IntegrationTests`.
@Suite(
    .serialized,
    .enabled(
        if: RealFirecracker.canRun && KernelImageTests.kernel != nil,
        "no Firecracker, no /dev/kvm, no root, or no template is built"), .timeLimit(.minutes(3))
)
struct EngineTests {
    @Test func bakesWhatOthersStandOn() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            for (file, size) in [(image.memory, 128 << 20), (try #require(image.baseDisks.last), 8 << 20)] {
                var info = stat()
                #expect(stat(file, &info) == 0 && info.st_uid == 0 && info.st_mode & 0o777 == 0o444)
                #expect(info.st_size == size)
            }
            // With the holes of the image it is a copy of.
            var info = stat()
            #expect(stat(try #require(image.baseDisks.last), &info) == 0 && info.st_blocks * 512 < 1 << 20)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: home.path("baked")).sorted() == [
                    "device-state", "disk.raw", "memory",
                ])
        }
    }

    @Test func clonesMeetNowhere() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake(hasNetworkCard: true)
            var machines: [FirecrackerMachine] = []
            for name in ["one", "two"] {
                let machine = try await home.shell(image, in: name, tap: true)
                #expect(machine.guest.isOpen)
                try await home.load(machine, image)
                #expect(try await machine.process.api.instance().state == .running)
                machines.append(machine)
            }
            // Both have the tap and the socket of the capture, by the same names, in places of their own.
            for machine in machines {
                let socket = "\(machine.process.rootPath)/guest.sock"
                #expect(access(socket, F_OK) == 0)
                #expect(try await machine.memory().private > 0)
            }
            #expect(Set(machines.map(\.process.user)).count == 2)
            // The memory they stand on is one file, which neither can write to.
            var inodes: Set<UInt64> = []
            for machine in machines {
                var info = stat()
                #expect(stat("\(machine.process.rootPath)/memory", &info) == 0 && info.st_mode & 0o777 == 0o444)
                inodes.insert(UInt64(info.st_ino))
            }
            #expect(inodes.count == 1)
            for machine in machines { await machine.kill() }
            #expect(home.isEmpty("one") && home.isEmpty("two"))
        }
    }

    /// What a machine has written to its memory and disk goes on in what is restored from its capture, and its base stays as
    /// it is.
    @Test func aCaptureHasWhatWasWritten() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let before = try Checksum.crc32c(of: Descriptor.open(image.memory, O_RDONLY))
            let machine = try await home.shell(image, in: "first")
            try await home.load(machine, image)
            try await machine.pause()
            try home.write(home.mark, page: 5000, of: machine)
            try machine.process.root.open("disk", O_RDWR).writeAll(home.mark, at: 4 << 20)
            let captured = try await home.capture(machine, into: "capture")
            await machine.kill()

            #expect(captured.layers == [home.path("capture/layer-0.raw")])
            #expect(try home.read(captured.layers[0], at: 4 << 20) == home.mark)
            let (pages, _) = try PageFile.read(try #require(captured.pages))
            #expect(pages.runs.contains { $0.page <= 5000 && 5000 < $0.page + $0.count })
            #expect(pages.pageCount < 128 << 8)

            let next = try await home.shell(captured, in: "second")
            try await home.load(next, captured)
            try await next.pause()
            let again = try await home.capture(next, into: "again")
            let flat = home.path("flat")
            try await home.engine.writeDisk(of: again, to: flat)
            #expect(try home.read(flat, at: 4 << 20) == home.mark)
            try FileManager.default.copyItem(atPath: image.memory, toPath: home.path("memory"))
            chmod(home.path("memory"), 0o600)
            try PageFile.apply(try #require(again.pages), toImage: Descriptor.open(home.path("memory"), O_RDWR))
            #expect(try home.read(home.path("memory"), at: 5000 * 4096) == home.mark)
            await next.kill()
            #expect(try Checksum.crc32c(of: Descriptor.open(image.memory, O_RDONLY)) == before)
        }
    }

    @Test func aShellOfAnotherBaseIsRefused() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let machine = try await home.shell(image, in: "shell")
            var other = image
            other.digest = "other"
            let error = await #expect(throws: MartletError.self) { try await machine.restore(other) }
            #expect(error?.code == .internal)
            await machine.kill()
        }
    }

    @Test func aDamagedCaptureIsRefusedByName() async throws {
        try await EngineHome.with { home in
            var image = try await home.bake()
            image.deviceState = home.path("state")
            try AtomicFile.write([UInt8](repeating: 1, count: 17_000), to: image.deviceState)
            let machine = try await home.shell(image, in: "shell")
            let error = await #expect(throws: MartletError.self) { try await machine.restore(image) }
            #expect(error?.details["object"] == "load snapshot", "\(String(describing: error))")
            image.pages = home.path("pages")
            try AtomicFile.write(Array("nonsense".utf8), to: home.path("pages"))
            let second = try await home.shell(image, in: "second")
            let damage = await #expect(throws: MartletError.self) { try await second.restore(image) }
            #expect(damage?.details["reason"] == "damaged", "\(String(describing: damage))")
            for machine in [machine, second] { await machine.kill() }
        }
    }

    @Test func itsDiskGrows() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let machine = try await home.shell(image, in: "machine")
            try await home.load(machine, image)
            if !RealFirecracker.mayRaiseLimits {
                print("firecracker: this is no root that may raise limits: it is only seen that this is said")
                let error = await #expect(throws: MartletError.self) { try await machine.growDisk(toMiB: 1024) }
                #expect(error?.code == .unsupported && error?.message.contains("CAP_SYS_RESOURCE") == true)
                // What takes no larger limit can be seen all the same.
                let file = try machine.process.root.open("disk", O_RDWR)
                try JailRoot.extend(file, to: 16 << 20, named: "disk")
                try await machine.process.api.update(drive: "root", path: "/disk")
                return await machine.kill()
            }
            try await machine.growDisk(toMiB: 1024)
            var info = stat()
            #expect(stat("\(machine.process.rootPath)/disk", &info) == 0 && info.st_size == 1024 << 20)
            let limits = String(decoding: try AtomicFile.read("/proc/\(machine.pid)/limits"), as: UTF8.self)
            #expect(limits.contains("\(1024 << 20)"))
            // Smaller it never gets.
            try await machine.growDisk(toMiB: 16)
            #expect(stat("\(machine.process.rootPath)/disk", &info) == 0 && info.st_size == 1024 << 20)
            await machine.kill()
        }
    }

    @Test func pausingAndGoingOnAreIdempotent() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let machine = try await home.shell(image, in: "machine")
            try await home.load(machine, image)
            for _ in 0..<2 {
                try await machine.pause()
                #expect(try await machine.process.api.instance().state == .paused)
            }
            for _ in 0..<2 {
                try await machine.process.api.resume()
                #expect(try await machine.process.api.instance().state == .running)
            }
            await machine.kill()
        }
    }

    @Test(.enabled(if: !RealFirecracker.hasKVM, "guests answer here")) func aGuestThatDoesNotAnswerIsGivenUp()
        async throws
    {
        try await EngineHome.with { home in
            let error = await #expect(throws: MartletError.self) {
                _ = try await home.engine.boot(
                    home.boot, from: home.bootImage(hasNetworkCard: false), in: home.make("machine"), network: nil)
            }
            #expect([.timeout, .unavailable].contains(error?.code), "\(String(describing: error))")
            #expect(home.isEmpty("machine"))
        }
    }

    // MARK: A daemon after another

    @Test func whatAnEarlierDaemonLeftIsKnownByItsImage() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let machine = try await home.shell(image, in: "machine")
            try await home.load(machine, image)
            let later = home.newEngine()
            var other = image
            other.digest = "other"
            #expect(try await later.adopt(other, in: home.path("machine")) == nil)
            #expect(try await later.adopt(image, in: home.make("nothing")) == nil)
            if !RealFirecracker.hasKVM {
                // It is found, and asked; but its guest says nothing, and then it is not taken over.
                let error = await #expect(throws: MartletError.self) {
                    _ = try await later.adopt(image, in: home.path("machine"))
                }
                #expect([.timeout, .unavailable].contains(error?.code), "\(String(describing: error))")
            }
            #expect(Glibc.kill(machine.pid, 0) == 0)
            await later.reclaim(home.path("machine"))
            #expect(machine.process.hasEnded && home.isEmpty("machine"))
            #expect(try await later.adopt(image, in: home.path("machine")) == nil)
            await later.reclaim(home.path("machine"))
        }
    }

    /// A daemon that was killed between starting a process and writing it down.
    @Test func whatWasNotWrittenDownIsReclaimed() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let machine = try await home.shell(image, in: "machine")
            unlink(home.path("machine/firecracker.json"))
            await home.newEngine().reclaim(home.path("machine"))
            await machine.waitUntilEnded()
            #expect(machine.process.hasEnded && home.isEmpty("machine"))
        }
    }

    @Test func onlyWhatIsNobodysEndsAtTheStart() async throws {
        try await EngineHome.with { home in
            let image = try await home.bake()
            let kept = try await home.shell(image, in: "kept")
            let stray = try await home.shell(image, in: "stray")
            await home.newEngine().reclaimOthers(than: [home.path("kept")])
            await stray.waitUntilEnded()
            #expect(stray.process.hasEnded && !kept.process.hasEnded)
            await kept.kill()
            await stray.kill()
        }
    }
}

/// What an engine says of hosts it cannot be used on.
@Suite struct EngineReportTests {
    private func report(_ change: (inout FirecrackerEngine.Configuration) -> Void = { _ in }) async -> EngineReport {
        var configuration = FirecrackerEngine.Configuration(
            directory: "/nonexistent/firecracker", groups: "none", folders: [RealFirecracker.folder])
        change(&configuration)
        return await FirecrackerEngine(
            configuration: configuration, logger: Logger(label: "test"), group: MultiThreadedEventLoopGroup.singleton
        ).inspect()
    }

    @Test(.enabled(if: !RealFirecracker.hasKVM && geteuid() == 0, "this processor virtualises"))
    func withoutKVMTheReasonAndTheWayOutAreTold() async {
        let report = await report()
        #expect(report.name == "firecracker" && !report.isAvailable && report.isolation == nil)
        #expect(report.reason.contains("virtualisation extension") && report.reason.contains("'microvm'"))
        #expect(!report.reason.contains("emulating instead"))
        if RealFirecracker.isHere { #expect(report.version?.hasPrefix("1.") == true) }
    }

    @Test(.enabled(if: geteuid() == 0, "this is not root")) func kvmThatIsSwitchedOffIsToldFirst() async {
        let report = await report { $0.allowsKVM = false }
        #expect(!report.isAvailable && report.reason.contains("switched off"))
    }

    @Test func itsWallIsTheProcessors() async {
        let engine = FirecrackerEngine(
            configuration: .init(directory: "/nonexistent", groups: "none"), logger: Logger(label: "test"),
            group: MultiThreadedEventLoopGroup.singleton)
        #expect(await engine.isolation().level == .hardwareVM)
        #expect(engine.capabilities.contains(.snapshots) && engine.diskFormat == .whole && engine.channel == .vsock)
    }
}
