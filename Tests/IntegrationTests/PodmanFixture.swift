import Foundation
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import Testing

/// Podman with storage of its own, a small image made without a network, and our runtime beside a daemon of ours.
struct PodmanFixture: Sendable {
    let daemon: DaemonFixture
    var state: String { daemon.data + "/oci" }
    /// What podman runs: it clears the environment and does not always pass flags on, so that both are in a script.
    var runtime: String { daemon.data + "/runtime" }

    static var canRun: Bool {
        ["/usr/bin/podman", "/usr/bin/conmon", "/usr/bin/busybox"].allSatisfy {
            FileManager.default.isExecutableFile(atPath: $0)
        } && geteuid() == 0
    }

    static func with(_ body: (PodmanFixture) async throws -> Void) async throws {
        try await DaemonFixture.with { daemon in
            let podman = PodmanFixture(daemon: daemon)
            try await podman.prepare()
            var outcome: Result<Void, any Error> = .success(())
            do { try await body(podman) } catch { outcome = .failure(error) }
            _ = try? await podman("rm", "-af", "-t", "0")
            try outcome.get()
        }
    }

    private func prepare() async throws {
        let program = URL(fileURLWithPath: DaemonFixture.program).deletingLastPathComponent().path + "/martlet-oci"
        let script = "#!/bin/sh\nexec \(program) --root \(state) --data \(daemon.data) \"$@\"\n"
        try AtomicFile.write(Array(script.utf8), to: runtime, mode: 0o755, durable: false)
        let root = daemon.data + "/image"
        let line = """
            set -e; mkdir -p $0/bin $0/etc $0/tmp $0/srv/x; cp /usr/bin/busybox $0/bin/
            for name in sh cat echo true sleep id uname tty ls grep hostname; do ln -s busybox $0/bin/$name; done
            echo root:x:0:0:root:/:/bin/sh > $0/etc/passwd; touch $0/root-of-image
            tar -C $0 -cf $0.tar .
            """
        let made = try await Program.run("sh", ["-c", line, root])
        try #require(made.code == 0, "\(made.errors)")
        let imported = try await self("import", root + ".tar", "tiny")
        try #require(imported.code == 0, "\(imported.errors)")
    }

    /// The whole command line of a podman command.
    func words(_ arguments: [String]) -> [String] {
        [
            "podman", "--root", "\(daemon.data)/podman", "--runroot", "\(daemon.data)/podman-run", "--tmpdir",
            "\(daemon.data)/podman-tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
            "--events-backend", "file", "--runtime", runtime,
        ] + arguments
    }

    func callAsFunction(_ arguments: [String], input: [UInt8] = []) async throws -> DaemonFixture.Outcome {
        try await Program.run("podman", Array(words(arguments).dropFirst()), input: input)
    }

    func callAsFunction(_ arguments: String..., input: [UInt8] = []) async throws -> DaemonFixture.Outcome {
        try await self(arguments, input: input)
    }

    /// Runs a program in a container that is gone afterwards.
    func run(_ words: String...) async throws -> DaemonFixture.Outcome {
        try await self(["run", "--rm", "--network", "none", "tiny"] + words)
    }

    /// Returns when a line shows in a container's log. Each look takes podman some hundredths of a second.
    func waitForLog(_ container: String, _ line: String) async throws {
        for _ in 0..<1000 {
            if try await self("logs", container).output.split(separator: "\n").contains(Substring(line)) { return }
        }
        Issue.record("'\(line)' never showed in the log of \(container)")
    }

    /// Containers that the runtime keeps state of.
    func states() -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: state)) ?? [] }

    func expectNothingLeft() async throws {
        #expect(states() == [])
        #expect(try await daemon.client.sandboxes().items.count == 0)
        #expect(daemon.machineDirectories() == [])
    }
}

extension Trait where Self == ConditionTrait {
    /// Needs Debian's podman, conmon and busybox-static, which `scripts/test` installs, and root.
    static var requiresPodman: Self {
        .enabled(if: PodmanFixture.canRun, "podman is not installed, or this is not root")
    }
}
