import Foundation
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct SandboxTests {
    @Test func `every sandbox has its own name, machine id, randomness and the right time`() async throws {
        try await DaemonFixture.with(["--pool-warm", "2", "--pool-shells", "1"]) { fixture in
            var names: Set<String> = []
            var machineIDs: Set<String> = []
            var randoms: Set<String> = []
            var uuids: Set<String> = []
            for _ in 0..<4 {
                let sandbox = try await fixture.create()
                names.insert(try await fixture.output(sandbox, "hostname; cat /etc/hostname"))
                machineIDs.insert(try await fixture.output(sandbox, "cat /etc/machine-id"))
                randoms.insert(try await fixture.output(sandbox, "head -c 16 /dev/urandom | od -An -tx1"))
                uuids.insert(try await fixture.output(sandbox, "cat /proc/sys/kernel/random/uuid"))
                let before = Date().timeIntervalSince1970
                let guest = try #require(Double(try await fixture.output(sandbox, "date +%s.%N")))
                let after = Date().timeIntervalSince1970
                #expect(guest > before - 0.5 && guest < after + 0.5)
                #expect(try await fixture.output(sandbox, "getent hosts $(hostname) | wc -l") == "1")
            }
            #expect(names.count == 4)
            #expect(machineIDs.count == 4)
            #expect(randoms.count == 4)
            #expect(uuids.count == 4)
        }
    }

    @Test func `a daemon that has ended leaves no control group`() async throws {
        try await DaemonFixture.with { fixture in
            // All engines have looked by then at what the host lets them do.
            _ = try await fixture.client.host()
            try await fixture.client.deleteSandbox(try await fixture.create().id)
            fixture.stop()
            let trees = try FileManager.default.contentsOfDirectory(atPath: "/sys/fs/cgroup")
            let name = ControlGroupParent.name(for: fixture.data)
            for tree in trees.map({ "/sys/fs/cgroup/\($0)" }) + ["/sys/fs/cgroup"] {
                let left = (try? FileManager.default.contentsOfDirectory(atPath: tree + "/martlet")) ?? []
                #expect(!left.contains { $0.hasSuffix(name) }, "\(tree): \(left)")
            }
        }
    }

    @Test(arguments: [2046, 2048, 2050]) func `sizes around two gigabytes boot`(_ size: Int) async throws {
        try await DaemonFixture.with { fixture in
            var request = CreateSandboxRequest()
            request.memoryMiB = size
            let sandbox = try await fixture.create(request)
            let total = try await fixture.output(sandbox, "awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo")
            #expect(try #require(Int(total)) > 1900)
        }
    }

    @Test func `a time-out kills the whole process group and says so`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let result = try await fixture.shell(sandbox, "sleep 500 & sleep 501", timeoutSeconds: 0.5)
            #expect(result.timedOut)
            #expect(result.signal == "SIGKILL")
            #expect(try await fixture.output(sandbox, "pgrep -x sleep | wc -l") == "0")
        }
    }

    @Test func `output that is no text comes as base 64, and what is missing as exit code 127`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let binary = try await fixture.shell(sandbox, "printf '\\377\\000\\001'")
            #expect(binary.stdout == nil)
            #expect(binary.stdoutBase64 == "/wAB")
            let missing = try await fixture.client.exec(sandbox.id, ExecRequest(cmd: .arguments(["no-such-thing"])))
            #expect(missing.exitCode == 127)
            #expect(missing.stderr == "no-such-thing: command not found\n")
        }
    }

    @Test func `a gigabyte of output neither hangs nor kills anything`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let result = try await fixture.shell(sandbox, "head -c 1073741824 /dev/zero; exit 9", timeoutSeconds: 300)
            #expect(result.exitCode == 9)
            #expect(result.truncated)
            #expect(try await fixture.output(sandbox, "echo fine") == "fine")
        }
    }

    @Test func `a fork bomb stays within its limit and the sandbox can be used afterwards`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let bomb = try await fixture.shell(
                sandbox, "bomb() { bomb | bomb & }; bomb; exec sleep 600", timeoutSeconds: 4)
            #expect(bomb.timedOut)
            #expect(try await fixture.output(sandbox, "echo alive") == "alive")
        }
    }

    @Test func `a full disk is the program's error and an upload's, and goes away again`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let fill = try await fixture.shell(
                sandbox, "fallocate -l $(($(df --output=avail -B1 / | tail -1) - 65536)) /full; echo $?")
            #expect(fill.exitCode == 0)
            let error = await #expect(throws: MartletError.self) {
                try await fixture.client.upload(sandbox.id, "/big", bytes: [UInt8](repeating: 7, count: 8 << 20))
            }
            #expect(error?.code == .resourceExhausted)
            #expect(try await fixture.output(sandbox, "rm -f /full; echo ok > /x && cat /x") == "ok")
            #expect(try await fixture.output(sandbox, "ls /big 2>&1 | grep -c 'No such'") == "1")
        }
    }

    @Test func `a larger disk is there when the sandbox is`() async throws {
        try await DaemonFixture.with(["--pool-warm", "1"]) { fixture in
            let plain = try await fixture.create()
            let large = try await fixture.create(CreateSandboxRequest(diskMiB: 8192))
            let size = "df --output=size -BM / | tail -1 | tr -dc 0-9"
            let before = try #require(Int(try await fixture.output(plain, size)))
            let after = try #require(Int(try await fixture.output(large, size)))
            #expect(before > 3500 && before < 4100)
            #expect(after > 7500)
        }
    }

    @Test func `background processes replay their output, take input and signals, and run on a terminal`() async throws
    {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let client = fixture.client
            let echo = "echo ready; while read l; do echo got $l; done; echo end"
            let started = try await client.startProcess(
                sandbox.id, StartProcessRequest(cmd: .shell(echo), stdin: true))
            try await client.writeInput(sandbox.id, started.pid, Array("one\n".utf8))
            try await client.writeInput(sandbox.id, started.pid, Array("two\n".utf8), close: true)
            func all(from offset: UInt64) async throws -> (String, Int32?) {
                var text: [UInt8] = []
                var code: Int32?
                for try await event in client.processEvents(sandbox.id, started.pid, from: offset) {
                    if case .output(_, let bytes) = event { text += bytes }
                    if case .exit(let exit) = event { code = exit.exitCode }
                }
                return (String(decoding: text, as: UTF8.self), code)
            }
            let (text, code) = try await all(from: 0)
            #expect(text == "ready\ngot one\ngot two\nend\n")
            #expect(code == 0)
            #expect(try await all(from: 6).0 == "got one\ngot two\nend\n")

            let sleeper = try await client.startProcess(sandbox.id, StartProcessRequest(cmd: .shell("sleep 1000")))
            try await client.signal(sandbox.id, sleeper.pid, "SIGTERM")
            var signal: String?
            for try await event in client.processEvents(sandbox.id, sleeper.pid) {
                if case .exit(let exit) = event { signal = exit.signal }
            }
            #expect(signal == "SIGTERM")

            let terminal = try await client.startProcess(
                sandbox.id,
                StartProcessRequest(cmd: .shell("stty size; tty"), pty: TerminalSizeResource(rows: 33, cols: 101)))
            var screen: [UInt8] = []
            for try await event in client.processEvents(sandbox.id, terminal.pid) {
                if case .output(_, let bytes) = event { screen += bytes }
            }
            #expect(String(decoding: screen, as: UTF8.self).hasPrefix("33 101\r\n/dev/pts/"))
        }
    }

    @Test func `a sandbox whose time is over is gone`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 1))
            for try await _ in fixture.client.events(sandbox.id) {}
            let error = await #expect(throws: MartletError.self) { _ = try await fixture.client.sandbox(sandbox.id) }
            #expect(error?.code == .notFound)
            #expect(fixture.machines().isEmpty)
        }
    }

    @Test func `a guest that powers itself off is told as failed`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let events = fixture.client.events(sandbox.id)
            _ = try? await fixture.client.exec(
                sandbox.id, ExecRequest(cmd: .shell("echo o > /proc/sysrq-trigger; sleep 100"), timeoutSeconds: 30))
            for try await event in events where event.details["to"] == "failed" { break }
            #expect(try await fixture.client.sandbox(sandbox.id).state == .failed)
        }
    }

    @Test func `the limit of sandboxes on a host is an error that names it`() async throws {
        try await DaemonFixture.with(["--no-pool", "--max-sandboxes", "1"]) { fixture in
            _ = try await fixture.create()
            let error = await #expect(throws: MartletError.self) { _ = try await fixture.create() }
            #expect(error?.code == .resourceExhausted)
            #expect(error?.details["limit"] == "host")
        }
    }
}
