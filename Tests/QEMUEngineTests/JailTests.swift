import CLinux
import Foundation
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import QEMUEngine

/// The jail, from inside: a program of ours takes QEMU's place and tries what a QEMU that was taken over would.
@Suite(.serialized, .enabled(if: geteuid() == 0, "jails take root"), .timeLimit(.minutes(2)))
struct JailTests {
    /// What the program said, and how it ended.
    private struct Outcome {
        var results: [String: Int] = [:]
        var signal: Int32 = 0
        var text = ""
    }

    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    /// Built with the tests, beside their bundle.
    private static var probe: String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: own).deletingLastPathComponent().path + "/jail-probe"
    }

    /// Runs the program in a jail as QEMU would be, with a machine's directory; `check` looks at it afterwards.
    @discardableResult
    private func run(_ task: String, _ check: (String) throws -> Void = { _ in }) async throws -> Outcome {
        let scratch = NSTemporaryDirectory() + "martlet-jail-\(UUID().uuidString.prefix(8))"
        let directory = "\(scratch)/m-\(task)"
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let jail = try await QEMUJail(
            configuration: .init(
                jailer: "\(JailTests.repository)/libexec/martlet-jailer", dataDirectory: scratch),
            program: JailTests.probe, directory: scratch)
        let files = MachineFiles(directory: directory, owner: jail.users.take())
        let base = "\(scratch)/base"
        for path in ["\(directory)/sandbox.json", "\(directory)/disk.qcow2", base] {
            try Data("secret".utf8).write(to: URL(fileURLWithPath: path))
        }
        chmod("\(directory)/sandbox.json", 0o600)
        chmod(base, 0o444)
        chmod(directory, 0o711)
        try files.give("disk.qcow2")
        var arguments = QEMUArguments(
            accelerator: .tcg, shape: try MachineShape(cpus: 1, memoryMiB: 128), memory: base,
            memoryAccess: .copyOnWrite, disk: "\(directory)/disk.qcow2", baseDisks: [base], role: .restore,
            translationBufferMiB: 16, consoleFile: nil)
        arguments.name = QEMULauncher.processName(of: directory)
        let output = try Descriptor.open("\(scratch)/output", O_RDWR | O_CREAT)
        var ends: [Int32] = [0, 0]
        try #require(clinux_pipe(&ends, 0) == 0)
        let (reading, writing) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        let child = try jail.spawn(
            JailTests.probe, arguments, files: files, user: try #require(files.owner),
            descriptors: [reading.number, output.number, output.number], network: nil, largestFile: 64 << 20)
        defer { jail.clear(directory, user: files.owner) }
        try jail.limit(child.pid, in: directory)
        writing.close()
        var outcome = Outcome()
        var exit = clinux_exit()
        let pidfd = try #require(child.pidfd)
        #expect(clinux_poll_one(pidfd.number, Int16(POLLIN), 60_000) == 1, "it does not end")
        _ = clinux_reap(child.pid, &exit)
        outcome.signal = exit.signal
        outcome.text = try String(contentsOfFile: "\(scratch)/output", encoding: .utf8)
        for line in outcome.text.split(separator: "\n") {
            let parts = line.components(separatedBy: ": ")
            if parts.count == 2 { outcome.results[parts[0]] = Int(parts[1]) }
        }
        try check(directory)
        return outcome
    }

    @Test func `it sees nothing of the host, and changes nothing it was not given`() async throws {
        let outcome = try await run("look") { directory in
            let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
            #expect(names == ["disk.qcow2", "sandbox.json"])
        }
        let host = outcome.results.filter { $0.key.hasPrefix("host ") }
        // The program is in the jail where it is on the host, and so are the empty folders that lead to it.
        let absent = host.filter { !JailTests.probe.hasPrefix($0.key.dropFirst("host ".count) + "/") }
        #expect(host.count == 21 && absent.count >= 20, "\(outcome.text)")
        #expect(absent.values.allSatisfy { $0 == Int(ENOENT) }, "\(outcome.text)")
        let refused = outcome.results.filter { $0.key.hasPrefix("refused ") }
        #expect(refused.count == 7, "\(outcome.text)")
        #expect(
            refused.values.allSatisfy { [EACCES, EROFS, EPERM, ENOTDIR].map(Int.init).contains($0) }, "\(outcome.text)")
        let own = outcome.results.filter { $0.key.hasPrefix("own ") }
        #expect(own.count == 3 && own.values.allSatisfy { $0 == 0 }, "\(outcome.text)")
        #expect(outcome.results["is root"] == 0 && outcome.results["pid"] == 1 && outcome.results["done"] == 0)
    }

    @Test func `every call that leads out, or up, is refused`() async throws {
        let outcome = try await run("calls")
        var calls = outcome.results
        #expect(calls.removeValue(forKey: "done") == 0, "\(outcome.text)")
        // There is nothing outside its own processes for it to name.
        #expect(calls.removeValue(forKey: "tgkill outside") == Int(ESRCH))
        #expect(calls.removeValue(forKey: "clone3") == Int(ENOSYS))
        #expect(calls.count >= 75)
        for (call, result) in calls { #expect(result == Int(EPERM), "\(call)") }
    }

    @Test func `it has as many descriptors, threads, bytes of memory and of disk as it may, and no more`() async throws
    {
        let descriptors = try await run("open")
        #expect(descriptors.results["error"] == Int(EMFILE))
        #expect((900...1024).contains(descriptors.results["descriptors"] ?? 0), "\(descriptors.text)")

        let threads = try await run("threads")
        #expect(threads.results["error"] == Int(EAGAIN))
        #expect((64...97).contains(threads.results["threads"] ?? 0), "\(threads.text)")

        let disk = try await run("disk")
        #expect(disk.results["error"] == Int(EFBIG) && disk.results["MiB"] == 64, "\(disk.text)")

        let memory = try await run("memory")
        #expect(memory.signal == SIGKILL && memory.results["done"] == nil, "\(memory.text)")
    }

    @Test func `nothing is left of a jail, nor of its group`() async throws {
        let before = try ControlGroupHierarchies.onThisHost().trees.map(\.path).flatMap {
            (try? FileManager.default.contentsOfDirectory(atPath: "\($0)/martlet")) ?? []
        }
        try await run("open")
        let after = try ControlGroupHierarchies.onThisHost().trees.map(\.path).flatMap {
            (try? FileManager.default.contentsOfDirectory(atPath: "\($0)/martlet")) ?? []
        }
        // Other tests have groups of their own, which come and go.
        #expect(Set(after).subtracting(before).allSatisfy { !$0.hasPrefix("m-") })
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        #expect(!mounts.contains("martlet-jail-"))
    }

    @Test func `a host that lacks a step is told so, and what to do`() async throws {
        let scratch = NSTemporaryDirectory() + "martlet-jail-\(UUID().uuidString.prefix(8))"
        let configuration = QEMUJail.Configuration(jailer: "\(scratch)/martlet-jailer", dataDirectory: scratch)
        #expect(configuration.obstacle?.contains("scripts/build-guest") == true)
        let error = await #expect(throws: MartletError.self) {
            _ = try await QEMUJail(configuration: configuration, program: "/bin/true", directory: scratch)
        }
        #expect(error?.code == .failedPrecondition && error?.message.contains("--insecure-no-jail") == true)
    }
}
