import Foundation
import Glibc
import LinuxSystem
import Testing

/// Debian's podman with our runtime: images of its own storage, containers in real machines.
@Suite(.serialized, .requiresDaemon, .requiresPodman, .timeLimit(.minutes(10))) struct OCITests {
    @Test func `a container's streams, code and surroundings are its program's`() async throws {
        try await PodmanFixture.with { podman in
            let plain = try await podman.run("sh", "-c", "echo out; echo err >&2; exit 7")
            #expect(plain.output == "out\n")
            #expect(plain.errors.hasSuffix("err\n"))
            #expect(plain.code == 7)
            let placed = try await podman(
                "run", "--rm", "--network", "none", "-e", "A=b c", "-w", "/srv/x", "--user", "1000:1000", "tiny", "sh",
                "-c", "echo $A; pwd; id -u; id -g; id -G")
            #expect(placed.output == "b c\n/srv/x\n1000\n1000\n1000\n", "\(placed.errors)")
            let input = Array((0..<20_000).map { "\($0)\n" }.joined().utf8)
            let cat = try await podman("run", "-i", "--rm", "--network", "none", "tiny", "cat", input: input)
            #expect(Array(cat.output.utf8) == input)
            #expect(try await podman.run("no-such-program").code == 127)
            #expect(try await podman.run("/etc/passwd").code == 126)
        }
    }

    @Test func `the kernel, the processes and the root are the machine's, not the host's`() async throws {
        try await PodmanFixture.with { podman in
            let seen = try await podman.run(
                "sh", "-c", "uname -r; echo $$; ls /root-of-image; ls -d /var/lib/martlet-oci; hostname")
            let lines = seen.output.split(separator: "\n").map(String.init)
            try #require(lines.count >= 4, "\(seen)")
            #expect(lines[0] != HostKernel.release)
            #expect(lines[0].hasSuffix("cloud-amd64"))
            #expect(lines[1] == "1")
            #expect(lines[2] == "/root-of-image")
            #expect(lines[3].count == 12, "the container's id is its host name")
            let limited = try await podman(
                "run", "--rm", "--network", "none", "--memory", "64m", "--pids-limit", "50", "tiny", "cat",
                "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max")
            #expect(limited.output == "67108864\n50\n", "\(limited.errors)")
            let status = try await podman.run("grep", "CapBnd", "/proc/self/status")
            // What podman asks for has no CAP_SYS_ADMIN (bit 21).
            let mask = try #require(
                status.output.split(separator: "\t").last.flatMap { UInt64($0.dropLast(), radix: 16) })
            #expect(mask & 1 << 21 == 0)
            #expect(mask != 0)
        }
    }

    @Test func `a terminal is one`() async throws {
        try await PodmanFixture.with { podman in
            let line = podman.words(["run", "-it", "--rm", "--network", "none", "tiny", "sh", "-c", "tty; exit 3"])
                .joined(separator: " ").replacing("tty; exit 3", with: "'tty; exit 3'")
            let seen = try await Program.run("script", ["-qec", line, "/dev/null"])
            #expect(seen.output.contains("/dev/pts/0"), "\(seen)")
            #expect(seen.code == 3)
        }
    }

    @Test func `signals arrive, logs are kept, and removal leaves nothing`() async throws {
        try await PodmanFixture.with { podman in
            let line = "trap 'echo got; exit 5' TERM; echo begun; while :; do sleep 0.1; done"
            #expect(
                try await podman("run", "-d", "--name", "one", "--network", "none", "tiny", "sh", "-c", line).code == 0)
            try await podman.waitForLog("one", "begun")
            #expect(try await podman("stop", "-t", "60", "one").code == 0)
            #expect(try await podman("logs", "one").output == "begun\ngot\n")
            #expect(try await podman("inspect", "one", "--format", "{{.State.ExitCode}}").output == "5\n")
            #expect(try await podman("rm", "one").code == 0)
            #expect(
                try await podman("run", "-d", "--name", "two", "--network", "none", "tiny", "sleep", "1000").code == 0)
            #expect(try await podman("kill", "two").code == 0)
            #expect(try await podman("wait", "two").output == "137\n")
            #expect(try await podman("rm", "-f", "two").code == 0)
            try await podman.expectNothingLeft()
        }
    }

    @Test func `what is killed half-way is cleared away`() async throws {
        try await PodmanFixture.with { podman in
            #expect(
                try await podman("run", "-d", "--name", "one", "--network", "none", "tiny", "sleep", "1000").code == 0)
            let state = try #require(podman.states().first)
            let text = try String(contentsOfFile: "\(podman.state)/\(state)/state.json", encoding: .utf8)
            let pid = try #require(text.firstMatch(of: /"pid":(\d+)/).flatMap { Int32($0.1) })
            #expect(kill(pid, SIGKILL) == 0)
            #expect(try await podman("wait", "one").output == "137\n")
            #expect(try await podman("rm", "-f", "one").code == 0)
            try await podman.expectNothingLeft()

            #expect(
                try await podman("run", "-d", "--name", "two", "--network", "none", "tiny", "sleep", "1000").code == 0)
            podman.daemon.kill()
            try await podman.daemon.start()
            #expect(try await podman("rm", "-f", "-t", "0", "two").code == 0)
            try await podman.expectNothingLeft()
        }
    }

    @Test func `what cannot be had is refused with a reason`() async throws {
        try await PodmanFixture.with { podman in
            let refused: [([String], String)] = [
                (["--network", "none", "-v", "/tmp:/x"], "shares nothing with the host"),
                (["--network", "none", "--privileged"], "privileged"),
                (["--network", "none", "--pid", "host"], "namespace pid"),
                (["--network", "host"], "network"),
            ]
            for (options, reason) in refused {
                let outcome = try await podman(["run", "--rm"] + options + ["tiny", "true"])
                #expect(outcome.code != 0, "\(options)")
                #expect(outcome.errors.contains(reason), "\(options): \(outcome.errors)")
            }
            let bad = try await Program.run(podman.runtime, ["state", "../../etc"])
            #expect(bad.code == 1)
            #expect(bad.errors.contains("container id"))
            let empty = try await Program.run(podman.runtime, ["create", "--bundle", podman.state + "-no", "x"])
            #expect(empty.code == 1)
            #expect(empty.errors.contains("config.json"))
            try await podman.expectNothingLeft()
        }
    }
}
