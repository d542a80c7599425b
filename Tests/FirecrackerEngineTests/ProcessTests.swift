import Foundation
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// The jail around the real Firecracker, seen from outside, and what is left after its end.
@Suite(
    .serialized, .enabled(if: RealFirecracker.canRun, "no Firecracker, no /dev/kvm or no root"), .timeLimit(.minutes(2))
)
struct ProcessTests {
    private func status(_ pid: Int32) throws -> [String: String] {
        let text = String(decoding: try AtomicFile.read("/proc/\(pid)/status"), as: UTF8.self)
        let lines = text.split(separator: "\n").map { $0.split(separator: ":", maxSplits: 1) }
        return Dictionary(
            lines.filter { $0.count == 2 }.map { ("\($0[0])", $0[1].trimmingCharacters(in: .whitespaces)) },
            uniquingKeysWith: { first, _ in first })
    }

    private func link(_ path: String) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: path) }

    private func filtered(_ pid: Int32) throws -> Set<String> { try FilteredThreads.names(of: pid).filtered }

    @Test func isShutIn() async throws {
        try await withHome { home in
            let network = try await TapNamespace.make(tap: "fc0")
            let process = try await home.start { $0.network = network }
            let pid = process.pid
            let status = try status(pid)
            #expect(status["Uid"]?.split(separator: "\t").allSatisfy { $0 == "\(home.user)" } == true)
            #expect(status["Gid"]?.split(separator: "\t").allSatisfy { $0 == "\(home.user)" } == true)
            #expect(status["CapEff"] == "0000000000000000")
            // The thread that hears requests is behind Firecracker's filter from the start, the others once a guest is.
            #expect(try filtered(pid).contains("fc_api"))
            // The first of its own process namespace.
            #expect(status["NSpid"]?.split(separator: "\t").last == "1")
            for kind in ["pid", "mnt", "net", "ipc", "uts"] {
                #expect(link("/proc/\(pid)/ns/\(kind)") != link("/proc/self/ns/\(kind)"), "\(kind)")
            }
            #expect(NetworkNamespace.areSame(network, try NetworkNamespace.of(process: pid)))
            let root = Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/root/"))
            #expect(
                root.isSubset(of: ["api.sock", "dev", "firecracker", "firecracker.log", "firecracker.pid", "run"]),
                "\(root)")
            #expect(ControlGroup(home.id, in: home.groups).processes() == [pid])
            let limits = String(decoding: try AtomicFile.read("/proc/\(pid)/limits"), as: UTF8.self)
            #expect(limits.split(separator: "\n").contains { $0.hasPrefix("Max open files") && $0.contains(" 1024 ") })
            #expect(
                limits.split(separator: "\n").contains { $0.hasPrefix("Max file size") && $0.contains(" \(1 << 30) ") })
            await process.kill()
        }
    }

    @Test func leavesNothing() async throws {
        try await withHome { home in
            let process = try await home.start()
            #expect(!home.isEmpty && !process.hasEnded)
            await process.kill()
            #expect(home.isEmpty && process.hasEnded)
            await process.kill()
        }
    }

    @Test func itsEndIsNoticed() async throws {
        try await withHome { home in
            let process = try await home.start()
            async let ended: Void = process.waitUntilEnded()
            Glibc.kill(process.pid, SIGKILL)
            await ended
            #expect(process.hasEnded)
            #expect(Glibc.kill(process.pid, 0) != 0)
            let error = await #expect(throws: MartletError.self) { try await process.api.version() }
            #expect(error?.code == .unavailable)
            await process.kill()
            #expect(home.isEmpty)
        }
    }

    /// A later daemon knows the directory, and nothing else.
    @Test func isReclaimedByALaterDaemon() async throws {
        try await withHome { home in
            let pid = try await home.start().pid
            #expect(Glibc.kill(pid, 0) == 0)
            await FirecrackerProcess.reclaim(home.directory, groups: home.groups)
            #expect(Glibc.kill(pid, 0) != 0)
            #expect(home.isEmpty)
            await FirecrackerProcess.reclaim(home.directory, groups: home.groups)
        }
    }

    @Test func oneThatDoesNotStartSaysWhyAndLeavesNothing() async throws {
        try await withHome { home in
            var installation = try await RealFirecracker.find()
            // The jailer wants the program's name in that of the file.
            installation.program = "/bin/true"
            let wrong = installation
            let error = await #expect(throws: MartletError.self) {
                _ = try await home.start { $0.installation = wrong }
            }
            #expect(
                error?.code == .unavailable && error?.message.contains("firecracker") == true,
                "\(String(describing: error))")
            #expect(home.isEmpty)
            // It was waited for.
            #expect(try ProcessTests.children(named: "jailer").isEmpty)
        }
    }

    /// Children of this process by their name, those included that have ended and nobody has asked for.
    private static func children(named name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { pid in
            let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
            return status.contains("Name:\t\(name)\n") && status.contains("PPid:\t\(getpid())\n")
        }
    }

    @Test func takesOnlyIdsTheJailerTakes() async throws {
        try await withHome { home in
            let error = await #expect(throws: MartletError.self) { _ = try await home.start { $0.id = "../up" } }
            #expect(error?.code == .internal)
            #expect(home.isEmpty)
        }
    }

    /// What it left is not opened by way of a link, nor taken when it is somebody else's.
    @Test func collectsPlainFilesOnly() async throws {
        try await withHome { home in
            let secret = try home.makeFile("secret", bytes: 100, mode: 0o600)
            let process = try await home.start()
            let root = JailRoot(path: process.rootPath, user: home.user)
            try root.give(secret, as: "honest")
            symlink(secret, "\(process.rootPath)/link")
            Glibc.link(secret, "\(process.rootPath)/hard")
            for name in ["link", "hard", "dev", "api.sock", "none"] {
                #expect(throws: (any Error).self, "\(name)") { try root.collect(name, to: home.path("taken")) }
            }
            #expect(throws: MartletError.self) { try root.collect("../up", to: home.path("taken")) }
            #expect(access(home.path("taken"), F_OK) != 0)
            try await process.finish(collecting: ["honest": home.path("taken")])
            #expect(access(home.path("taken"), R_OK) == 0)
        }
    }

    /// The time from the order until the API has answered is printed, for SPECIFICATION.md.
    @Test func startsAgainAndAgain() async throws {
        try await withHome { home in
            var times: [Double] = []
            for _ in 0..<20 {
                let begin = Clocks.monotonicNanoseconds
                let process = try await home.start()
                times.append(Double(Clocks.monotonicNanoseconds - begin) / 1_000_000)
                #expect(try await process.api.instance().state == .notStarted)
                await process.kill()
                #expect(home.isEmpty)
            }
            times.sort()
            print("firecracker: jailer until API, ms: min \(times[0]) p50 \(times[10]) max \(times[19])")
        }
    }
}

/// Which threads of a process are behind a filter of system calls, and can get no more than they have.
enum FilteredThreads {
    static func names(of pid: Int32) throws -> (filtered: Set<String>, others: Set<String>) {
        var names: (filtered: Set<String>, others: Set<String>) = ([], [])
        for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task") {
            let text = String(decoding: try AtomicFile.read("/proc/\(pid)/task/\(thread)/status"), as: UTF8.self)
            let lines = text.split(separator: "\n").map { $0.split(separator: "\t") }
            func value(_ name: String) -> Substring? { lines.first { $0.first == name[...] }?.last }
            let name = String(value("Name:") ?? "")
            if value("Seccomp:") == "2", value("NoNewPrivs:") == "1" {
                names.filtered.insert(name)
            } else {
                names.others.insert(name)
            }
        }
        return names
    }
}
