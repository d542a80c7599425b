import Foundation
import Glibc
import GuestProtocol
import LinuxSystem
import Testing

@testable import GuestAgent

@Suite struct HostKeyFilesTests {
    @Test func everyKeyGoesAndNothingElse() async throws {
        try await withDirectory { directory in
            let outside = directory + "/outside"
            try write("outside", to: outside)
            let keys = directory + "/ssh"
            mkdir(keys, 0o755)
            for kind in ["rsa", "ed25519", "dsa"] {
                try write("old", to: "\(keys)/ssh_host_\(kind)_key")
                try write("old", to: "\(keys)/ssh_host_\(kind)_key.pub")
            }
            symlink(outside, "\(keys)/ssh_host_ecdsa_key")
            try write("left over", to: keys + "/.martlet_ssh_host_rsa_key")
            for name in ["sshd_config", "ssh_host_rsa_key.old", "id_rsa_key", "moduli"] {
                try write("mine", to: "\(keys)/\(name)")
            }
            let files = HostKeyFiles(directory: keys)
            #expect(try files.removeAll().sorted() == ["dsa", "ecdsa", "ed25519", "rsa"])
            #expect(names(in: keys) == ["id_rsa_key", "moduli", "ssh_host_rsa_key.old", "sshd_config"])
            #expect(try String(contentsOfFile: outside, encoding: .utf8) == "outside")
            #expect(try files.removeAll().isEmpty)
        }
    }

    @Test func withoutADirectoryThereIsNothingToDoAndALinkIsNotFollowed() async throws {
        try await withDirectory { directory in
            #expect(try HostKeyFiles(directory: directory + "/none").removeAll().isEmpty)
            mkdir(directory + "/real", 0o755)
            try write("key", to: directory + "/real/ssh_host_rsa_key")
            symlink(directory + "/real", directory + "/link")
            #expect(throws: SystemError.self) { try HostKeyFiles(directory: directory + "/link").removeAll() }
            #expect(names(in: directory + "/real") == ["ssh_host_rsa_key"])
        }
    }

    @Test func newKeysArePutInPlaceOverNothing() async throws {
        try await withDirectory { directory in
            let (source, keys) = (directory + "/new", directory + "/ssh")
            mkdir(source, 0o700)
            mkdir(keys, 0o755)
            try write("private", to: source + "/ssh_host_rsa_key")
            try write("public", to: source + "/ssh_host_rsa_key.pub")
            let files = HostKeyFiles(directory: keys)
            try files.install(kind: "rsa", from: source)
            #expect(names(in: keys) == ["ssh_host_rsa_key", "ssh_host_rsa_key.pub"])
            #expect(mode(keys + "/ssh_host_rsa_key") == 0o600)
            #expect(mode(keys + "/ssh_host_rsa_key.pub") & 0o444 == 0o444 & ~currentMask())
            // Someone else's key, and a link to someone's file, stay as they are.
            _ = try files.removeAll()
            symlink(directory + "/target", keys + "/ssh_host_rsa_key")
            #expect(throws: SystemError.self) { try files.install(kind: "rsa", from: source) }
            #expect(access(directory + "/target", F_OK) != 0)
            #expect(names(in: keys) == ["ssh_host_rsa_key"])
        }
    }

    private func mode(_ path: String) -> mode_t {
        var info = stat()
        return stat(path, &info) == 0 ? info.st_mode & 0o777 : 0
    }

    private func currentMask() -> mode_t {
        let mask = umask(0o022)
        umask(mask)
        return mask
    }
}

@Suite(.enabled(if: access("/usr/bin/ssh-keygen", X_OK) == 0, "needs ssh-keygen"))
struct HostKeyRenewalTests {
    @Test func aThawMakesNewKeysOfTheSameKindsAndTellsTheServer() async throws {
        try await withDirectory { directory in
            let keys = directory + "/ssh"
            mkdir(keys, 0o755)
            for kind in ["ed25519", "ecdsa", "dsa"] {
                try write("old", to: "\(keys)/ssh_host_\(kind)_key")
                try write("old", to: "\(keys)/ssh_host_\(kind)_key.pub")
            }
            // A server by its name, which ends by the signal it is told with.
            try FileManager.default.copyItem(atPath: "/bin/sleep", toPath: directory + "/sshd")
            try await AgentFixture.with {
                $0.hostKeys.directory = keys
                $0.hostKeys.scratch = directory + "/scratch"
                $0.hostKeys.serverPID = directory + "/sshd.pid"
            } _: { agent in
                agent.machine.use(HostKeyFiles(directory: keys))
                let server = try await agent.client.start(StartProcess(arguments: [directory + "/sshd", "1000"]))
                try write("\(server.pid)\n", to: directory + "/sshd.pid")
                #expect(try await thaw(agent).isComplete)
                #expect(try await agent.client.finish(server.stream).exit.signal == SIGHUP)
                // Told after the first kind; the other follows.
                let wanted = ["ecdsa", "ed25519"].flatMap { ["ssh_host_\($0)_key", "ssh_host_\($0)_key.pub"] }
                while names(in: keys) != wanted || access(directory + "/scratch", F_OK) == 0 {
                    try await Task.sleep(for: .milliseconds(5))
                }
                for name in wanted {
                    let text = try String(contentsOfFile: "\(keys)/\(name)", encoding: .utf8)
                    #expect(text.hasPrefix(name.hasSuffix(".pub") ? "" : "-----BEGIN OPENSSH PRIVATE KEY-----"))
                    #expect(text.count > 80)
                }
                let before = try String(contentsOfFile: keys + "/ssh_host_ed25519_key", encoding: .utf8)
                // The pid is another program's now: it is left alone.
                let stranger = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
                try write("\(stranger.pid)", to: directory + "/sshd.pid")
                #expect(try await thaw(agent).isComplete)
                while names(in: keys) != wanted || access(directory + "/scratch", F_OK) == 0 {
                    try await Task.sleep(for: .milliseconds(5))
                }
                #expect(try String(contentsOfFile: keys + "/ssh_host_ed25519_key", encoding: .utf8) != before)
                let process = ProcessReference(pid: stranger.pid)
                let info = try await agent.client.request(.inspectProcess, process, as: ProcessInfo.self)
                #expect(info.exit == nil)
            }
        }
    }

    /// A capture in the middle of a renewal: the child must not go on with random numbers its parent has as well.
    @Test func aRenewalUnderWayIsBegunAnew() async throws {
        try await withDirectory { directory in
            let keys = directory + "/ssh"
            mkdir(keys, 0o755)
            try write("old", to: keys + "/ssh_host_ed25519_key")
            // Says that it began, waits for the word to go on, and does then what the real one does.
            let generator = directory + "/generator"
            let script = """
                #!/bin/sh
                echo $$ >> \(directory)/began
                read go < \(directory)/go
                exec /usr/bin/ssh-keygen "$@"
                """
            try write(script, to: generator)
            chmod(generator, 0o755)
            mkfifo(directory + "/go", 0o600)
            try await AgentFixture.with {
                $0.hostKeys.directory = keys
                $0.hostKeys.generator = generator
                $0.hostKeys.scratch = directory + "/scratch"
                $0.hostKeys.serverPID = directory + "/none"
            } _: { agent in
                agent.machine.use(HostKeyFiles(directory: keys))
                #expect(try await thaw(agent).isComplete)
                #expect(names(in: keys).isEmpty)
                let first = try await generators(1, directory)[0]
                #expect(try await thaw(agent).isComplete)
                let second = try await generators(2, directory)[1]
                while isRunning(first) { try await Task.sleep(for: .milliseconds(5)) }
                #expect(isRunning(second))
                try write("go\n", to: directory + "/go")
                while names(in: keys) != ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
        }
    }

    @Test func withoutAGeneratorTheKeysAreGoneAllTheSame() async throws {
        try await withDirectory { directory in
            let keys = directory + "/ssh"
            mkdir(keys, 0o755)
            try write("old", to: keys + "/ssh_host_rsa_key")
            try await AgentFixture.with {
                $0.hostKeys.directory = keys
                $0.hostKeys.generator = directory + "/none"
                $0.hostKeys.scratch = directory + "/scratch"
            } _: { agent in
                agent.machine.use(HostKeyFiles(directory: keys))
                let thawed = try await thaw(agent)
                #expect(thawed.hostKeysRenewed)
                #expect(names(in: keys).isEmpty)
            }
        }
    }

    private func thaw(_ agent: AgentFixture) async throws -> Thawed {
        let request = Thaw(
            wallClockNanoseconds: 1, entropy: [1], hostname: "", machineID: "", keepsIdentity: true,
            renewsHostKeys: true)
        return try await agent.client.request(.thaw, request, as: Thawed.self)
    }

    /// The pids of so many generators, once they have begun.
    private func generators(_ count: Int, _ directory: String) async throws -> [Int32] {
        while true {
            let text = (try? String(contentsOfFile: directory + "/began", encoding: .utf8)) ?? ""
            let pids = text.split(separator: "\n").compactMap { Int32($0) }
            if pids.count >= count, text.hasSuffix("\n") { return pids }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

private func withDirectory(_ body: (String) async throws -> Void) async throws {
    let directory = NSTemporaryDirectory() + "martlet-keys-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try await body(directory)
}

private func write(_ text: String, to path: String) throws {
    let file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
    try file.writeAll(Array(text.utf8))
}

private func names(in directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
}
