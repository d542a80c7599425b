import Foundation
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// Against the real Firecracker, jailed by its real jailer: what its API takes, and what it refuses.
@Suite(
    .serialized, .enabled(if: RealFirecracker.canRun, "no Firecracker, no /dev/kvm or no root"), .timeLimit(.minutes(2))
)
struct ContractTests {
    private func fault(_ work: () async throws -> Void) async -> MartletError? {
        do {
            try await work()
            return nil
        } catch { return error as? MartletError }
    }

    @Test func answersWithItsVersion() async throws {
        try await withHome { home in
            let process = try await home.start()
            let version = try await process.api.version()
            #expect(version == (try await RealFirecracker.find().version))
            let instance = try await process.api.instance()
            #expect(instance == .init(id: home.id, state: .notStarted, vmmVersion: version))
            await process.kill()
        }
    }

    @Test func takesEveryDevice() async throws {
        try await withHome { home in
            let disk = try home.makeFile("root.img", bytes: 1 << 20)
            let network = try await TapNamespace.make(tap: "fc0")
            let process = try await home.start {
                $0.lent = ["root": disk]
                $0.given = ["own": disk]
                $0.network = network
            }
            let api = process.api
            try await api.configure(.init(cpus: 1, memoryMiB: 128))
            try await api.add(.init("root", path: "/root", isReadOnly: true))
            try await api.add(.init("own", path: "/own", isReadOnly: false))
            try await api.add(.init("eth0", tap: "fc0", hardwareAddress: "02:00:00:00:00:02"))
            try await api.setVsock(.init(guest: 3, path: "/guest.sock"))
            try await api.addEntropy()
            await process.kill()
        }
    }

    @Test func namesWhatItRefuses() async throws {
        try await withHome { home in
            let disk = try home.makeFile("root.img", bytes: 1 << 20)
            let process = try await home.start { $0.lent = ["root": disk] }
            let api = process.api
            let cases: [(String, String, () async throws -> Void)] = [
                ("machine-config", "vCPUs", { try await api.configure(.init(cpus: 0, memoryMiB: 128)) }),
                ("machine-config", "memory size", { try await api.configure(.init(cpus: 1, memoryMiB: 0)) }),
                (
                    "boot-source", "kernel file cannot be opened",
                    { try await api.setBootSource(.init(kernel: "/none", initramfs: nil, commandLine: "quiet")) }
                ),
                ("drive a", "No such file", { try await api.add(.init("a", path: "/none", isReadOnly: true)) }),
                // It is lent, so nobody writes to it.
                ("drive a", "ermission denied", { try await api.add(.init("a", path: "/root", isReadOnly: false)) }),
                // The host's own files are not there.
                ("drive a", "No such file", { try await api.add(.init("a", path: "/etc/passwd", isReadOnly: true)) }),
                (
                    "network-interface eth0", "tap",
                    { try await api.add(.init("eth0", tap: "none0", hardwareAddress: "02:00:00:00:00:02")) }
                ),
                (
                    "network-interface eth0", "MAC",
                    { try await api.add(.init("eth0", tap: "none0", hardwareAddress: "lie")) }
                ),
                ("vsock", "No such file", { try await api.setVsock(.init(guest: 3, path: "/none/v.sock")) }),
                ("start", "without kernel", { try await api.start() }),
                ("pause", "not supported before", { try await api.pause() }),
                ("resume", "not supported before", { try await api.resume() }),
                (
                    "snapshot", "not supported before",
                    { try await api.createSnapshot(.init(state: "/s", memory: "/m")) }
                ),
                (
                    "load snapshot", "not allowed after configuring",
                    { try await api.loadSnapshot(.init(state: "/none", memory: "/none", resumes: false)) }
                ),
            ]
            for (object, reason, work) in cases {
                let error = await fault(work)
                #expect(error?.code == .failedPrecondition, "\(object): \(reason): \(String(describing: error))")
                #expect(error?.details["object"] == object)
                #expect(error?.message.lowercased().contains(reason.lowercased()) == true, "\(error?.message ?? "")")
            }
            await process.kill()
        }
    }

    @Test func deviceIdsAreNoPaths() async throws {
        try await withHome { home in
            let process = try await home.start()
            for id in ["", "../boot-source", "a b", String(repeating: "a", count: 65)] {
                let error = await fault { try await process.api.add(.init(id, path: "/root", isReadOnly: true)) }
                #expect(error?.code == .internal)
            }
            await process.kill()
        }
    }

    /// The whole life of a machine, in Firecracker's eyes. Without a processor that virtualises, its guest gets nowhere,
    /// but is paused, captured and loaded all the same.
    @Test(.enabled(if: KernelImageTests.kernel != nil, "no template is built"))
    func startsPausesCapturesAndLoads() async throws {
        try await withHome { home in
            let kernel = home.path("vmlinux")
            try await KernelImage.unpack(try #require(KernelImageTests.kernel), to: kernel)
            let network = try await TapNamespace.make(tap: "fc0")
            let first = try await home.start {
                $0.lent = ["vmlinux": kernel]
                $0.network = network
            }
            try await first.api.configure(.init(cpus: 1, memoryMiB: 128))
            try await first.api.setBootSource(
                .init(kernel: "/vmlinux", initramfs: nil, commandLine: "reboot=k panic=1 8250.nr_uarts=0"))
            try await first.api.add(.init("eth0", tap: "fc0", hardwareAddress: "02:00:00:00:00:02"))
            try await first.api.setVsock(.init(guest: 3, path: "/guest.sock"))
            try await first.api.start()
            #expect(try await first.api.instance().state == .running)
            let threads = try FilteredThreads.names(of: first.pid)
            #expect(threads.others.isEmpty && threads.filtered.count >= 3, "\(threads)")
            try await first.api.pause()
            #expect(try await first.api.instance().state == .paused)
            try await first.api.createSnapshot(.init(state: "/state", memory: "/memory"))
            let (state, memory) = (home.path("state"), home.path("memory"))
            try await first.finish(collecting: ["state": state, "memory": memory])
            #expect(first.hasEnded)
            for file in [state, memory] {
                var info = stat()
                #expect(stat(file, &info) == 0 && info.st_uid == 0 && info.st_mode & 0o777 == 0o444)
                if file == memory { #expect(info.st_size == 128 << 20) }
            }
            // Another process, with another tap in another namespace, is that machine then; the files stay as they are.
            let other = try await TapNamespace.make(tap: "fc7")
            let second = try await home.start {
                $0.lent = ["state": state, "memory": memory]
                $0.network = other
            }
            try await second.api.loadSnapshot(
                .init(state: "/state", memory: "/memory", resumes: false, taps: ["eth0": "fc7"]))
            #expect(try await second.api.instance().state == .paused)
            // Nothing of the guest's listens.
            try await second.api.resume()
            #expect(try await second.api.instance().state == .running)
            await second.kill()
            #expect(second.hasEnded)
        }
    }

    @Test func aDamagedStateIsRefused() async throws {
        try await withHome { home in
            let (state, memory) = (
                try home.makeFile("state", bytes: 17_000), try home.makeFile("memory", bytes: 128 << 20)
            )
            let process = try await home.start { $0.lent = ["state": state, "memory": memory] }
            let error = await fault {
                try await process.api.loadSnapshot(.init(state: "/state", memory: "/memory", resumes: true))
            }
            #expect(error?.code == .failedPrecondition && error?.details["object"] == "load snapshot")
            await process.kill()
        }
    }
}
