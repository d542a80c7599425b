import CLinux
import Foundation
import Glibc
import LinuxSystem
import Testing

@Suite struct ChildProcessTests {
    @Test func passesArgumentsEnvironmentAndDirectory() throws {
        let outcome = try run(["/bin/sh", "-c", "echo \"$1|$X|$PWD|${HOME-unset}\"", "sh", "a b"]) {
            $0.environment = ["X=y=z"]
            $0.directory = "/usr"
        }
        #expect(outcome.text == "a b|y=z|/usr|unset\n")
        #expect(outcome.exit.code == 0)
    }

    @Test func nothingIsOpenInTheChildButWhatItWasGiven() throws {
        // Left open without close-on-exec on purpose.
        let stray = dup(0)
        defer { close(stray) }
        let outcome = try run(["/bin/ls", "/proc/self/fd"])
        // 3 is what ls itself opened to read the directory.
        #expect(outcome.text == "0\n1\n2\n3\n")
    }

    @Test func signalsAreAsAProgramExpectsThem() throws {
        signal(SIGPIPE, SIG_IGN)
        for ignored: UInt64 in [0, 1 << UInt64(SIGPIPE)] {
            let outcome = try run(["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]) {
                $0.ignoredSignals = ignored
            }
            let lines = outcome.text.split(separator: "\n")
            #expect(lines.first == "SigBlk:\t0000000000000000")
            let mask = try #require(lines.last.flatMap { UInt64($0.split(separator: "\t")[1], radix: 16) })
            #expect(mask & 1 << UInt64(SIGPIPE - 1) == 0)
        }
    }

    @Test func leadsASessionOfItsOwn() throws {
        let outcome = try run(["/bin/sh", "-c", "echo $$; cut -d' ' -f5,6 /proc/$$/stat"])
        let lines = outcome.text.split(separator: "\n")
        #expect(lines.last == "\(lines[0]) \(lines[0])")
    }

    @Test(.enabled(if: geteuid() == 0, "needs to be root"))
    func runsAsSomeoneElse() throws {
        let outcome = try run(["/usr/bin/id"]) {
            $0.identity = .init(uid: 65534, gid: 65534, groups: [65534, 12])
        }
        #expect(outcome.text.contains("uid=65534"))
        #expect(outcome.text.contains("12("))
        #expect(!outcome.text.contains("0(root)"))
    }

    @Test func limitsAreSet() throws {
        let outcome = try run(["/bin/sh", "-c", "ulimit -n"]) { $0.maxOpenFiles = 77 }
        #expect(outcome.text == "77\n")
    }

    @Test func aFailureTellsTheStepAndLeavesNoChild() throws {
        let cases: [(SpawnError.Stage, Int32, (inout SpawnRequest) -> Void)] = [
            (.exec, ENOENT, { $0.program = "/no/such/program" }),
            (.exec, EACCES, { $0.program = "/etc/passwd" }),
            (.directory, ENOENT, { $0.directory = "/no/such/directory" }),
            (.descriptors, EBADF, { $0.descriptors = [9999, nil, nil] }),
            (.namespace, EBADF, { $0.networkNamespace = 9999 }),
            (.terminal, ENOTTY, { $0.controllingTerminal = true }),
        ]
        for (stage, code, change) in cases {
            var request = SpawnRequest(program: "/bin/true", arguments: ["true"], environment: [])
            change(&request)
            let error = #expect(throws: SpawnError.self) { _ = try ChildProcess.spawn(request) }
            #expect(error?.stage == stage)
            #expect(error?.errno == code)
        }
    }

    @Test func aSignalThatEndedItIsTold() throws {
        let child = try ChildProcess.spawn(
            SpawnRequest(program: "/bin/sleep", arguments: ["sleep", "1000"], environment: []))
        let pidfd = try #require(child.pidfd)
        #expect(clinux_poll_one(pidfd.number, Int16(POLLIN), 0) == 0)
        #expect(clinux_pidfd_send_signal(pidfd.number, SIGTERM) == 0)
        let exit = try collect(child)
        #expect(exit.signal == SIGTERM)
        #expect(exit.code == 0)
    }

    private static let controlGroupRoot: String? = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].first { root in
        let path = root + "/martlet-probe-\(UUID().uuidString)"
        guard access(root + "/cgroup.controllers", F_OK) == 0, mkdir(path, 0o755) == 0 else { return false }
        return rmdir(path) == 0
    }

    @Test(.enabled(if: controlGroupRoot != nil, "needs a writable version 2 control group"))
    func isBornInAControlGroup() throws {
        let root = try #require(Self.controlGroupRoot)
        let path = root + "/martlet-test-\(UUID().uuidString)"
        try #require(mkdir(path, 0o755) == 0)
        defer { rmdir(path) }
        let directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        let outcome = try run(["/bin/sh", "-c", "cat /proc/self/cgroup | grep ^0:"]) { $0.cgroup = directory.number }
        #expect(outcome.text == "0::/\(path.split(separator: "/").last ?? "")\n")
        // A failure is told just as it is without a group.
        var request = SpawnRequest(program: "/no/such/program", arguments: ["x"], environment: [])
        request.cgroup = directory.number
        let error = #expect(throws: SpawnError.self) { _ = try ChildProcess.spawn(request) }
        #expect(error?.stage == .exec && error?.errno == ENOENT)
    }

    @Test(.enabled(if: geteuid() == 0, "needs to be root"))
    func entersANetworkNamespaceByItself() throws {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, 0), "pipe2")
        let (read, write) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        // Says that it is in a namespace of its own, and then waits to be ended.
        let owner = try ChildProcess.spawn(
            SpawnRequest(
                program: "/usr/bin/unshare",
                arguments: ["unshare", "--net", "/bin/sh", "-c", "echo ready; exec sleep 1000"], environment: [],
                descriptors: [nil, write.number, nil]))
        write.close()
        #expect(try read.read(upTo: 6) == Array("ready\n".utf8))
        let other = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(owner.pid)/ns/net")
        let namespace = try Descriptor.open("/proc/\(owner.pid)/ns/net", O_RDONLY)
        let outcome = try run(["/bin/readlink", "/proc/self/ns/net"]) {
            $0.networkNamespace = namespace.number
            $0.noNewPrivileges = true
            $0.identity = .init(uid: 65534, gid: 65534)
        }
        #expect(other != own)
        #expect(outcome.text == other + "\n")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net") == own)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self/ns/net") == own)
        #expect(clinux_kill(owner.pid, SIGKILL) == 0)
        #expect(try collect(owner).signal == SIGKILL)
    }

    // MARK: -

    private func run(
        _ arguments: [String], _ change: (inout SpawnRequest) -> Void = { _ in }
    ) throws -> (text: String, exit: clinux_exit) {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, 0), "pipe2")
        let read = Descriptor(owning: ends[0])
        let write = Descriptor(owning: ends[1])
        var request = SpawnRequest(
            program: arguments[0], arguments: arguments, environment: ["PATH=/usr/bin:/bin"],
            descriptors: [nil, write.number, nil])
        change(&request)
        let child = try ChildProcess.spawn(request)
        write.close()
        let text = String(decoding: try read.readAll(), as: UTF8.self)
        return (text, try collect(child))
    }

    private func collect(_ child: ChildProcess) throws -> clinux_exit {
        let pidfd = try #require(child.pidfd)
        #expect(clinux_poll_one(pidfd.number, Int16(POLLIN), 60_000) > 0)
        var exit = clinux_exit()
        #expect(clinux_reap(child.pid, &exit) == 1)
        #expect(exit.pid == child.pid)
        return exit
    }
}
