import CLinux
import Glibc
import Testing

@testable import LinuxSystem

@Suite struct ControlGroupTests {
    // MARK: Where they are

    @Test func `version 1 controllers beside an empty version 2 tree are found`() {
        let mounts = """
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
            38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
            39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
            40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """
        let found = ControlGroupHierarchies.read(mounts: mounts) { _ in "" }
        #expect(found.unified == "/sys/fs/cgroup/unified")
        #expect(found.controllers[.cpu]?.path == "/sys/fs/cgroup/cpu,cpuacct")
        #expect(found.controllers[.memory]?.isVersionTwo == false)
        #expect(found.controllers[.io]?.path == "/sys/fs/cgroup/blkio")
        #expect(found.controllers[.freezer] == nil)
        #expect(found.trees.count == 5)
    }

    @Test func `controllers of version 2 are found, and of both the one that has them`() {
        let mounts = """
            30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
            31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
            """
        let found = ControlGroupHierarchies.read(mounts: mounts) {
            $0 == "/sys/fs/cgroup" ? "cpuset cpu io pids\n" : ""
        }
        #expect(found.controllers[.cpu] == .init(path: "/sys/fs/cgroup", isVersionTwo: true))
        #expect(found.controllers[.io]?.isVersionTwo == true)
        #expect(found.controllers[.memory] == .init(path: "/sys/fs/cgroup/memory", isVersionTwo: false))
        #expect(found.trees.count == 2)
    }

    @Test func `lines that are no mounts of groups are passed over`() {
        let found = ControlGroupHierarchies.read(mounts: "garbage\n1 2 - cgroup\n - \n1 2 3 4 5 - ext4 a b\n") { _ in ""
        }
        #expect(found == ControlGroupHierarchies(controllers: [:], unified: nil))
    }

    // MARK: Real groups

    private static var isRoot: Bool { geteuid() == 0 }

    /// Runs `body` with a group of this test's own; it is gone afterwards.
    private func withGroup(_ limits: ControlGroupLimits, _ body: (ControlGroup) throws -> Void) throws {
        let parent = try ControlGroupParent.make("test-\(getpid())-\(UInt32.random(in: 0 ... .max))")
        let group = ControlGroup("g", in: parent)
        defer {
            group.kill()
            group.remove()
            parent.remove()
            #expect(!group.exists)
        }
        try group.create(limits)
        try body(group)
    }

    private func spawn(_ script: String, in group: ControlGroup) throws -> ChildProcess {
        var request = SpawnRequest(
            program: "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"])
        let unified = try group.openUnified()
        request.cgroup = unified?.number
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime(unified) {}
        try group.add(child.pid)
        return child
    }

    private func exit(of child: ChildProcess) -> clinux_exit {
        var exit = clinux_exit()
        _ = clinux_poll_one(child.pidfd?.number ?? -1, Int16(POLLIN), 20_000)
        _ = clinux_reap(child.pid, &exit)
        return exit
    }

    @Test(.enabled(if: isRoot)) func `memory over the limit ends the program, and it is counted`() throws {
        try withGroup(ControlGroupLimits(memoryBytes: 32 << 20)) { group in
            // It waits for a word, so that it is in the group before it takes anything.
            let child = try spawn("sleep 0.05; exec dd if=/dev/zero of=/dev/null bs=200M count=1", in: group)
            #expect(exit(of: child).signal == SIGKILL)
            #expect(group.usage().outOfMemoryKills ?? 0 >= 1)
        }
    }

    @Test(.enabled(if: isRoot))
    func `that memory is looked for is told, and reading a large file is no shortage`() throws {
        let file = "/var/tmp/martlet-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { unlink(file) }
        try withGroup(ControlGroupLimits(memoryBytes: 16 << 20)) { group in
            let pressure = try group.openMemoryPressure()
            #expect(clinux_poll_one(pressure.number, Int16(POLLIN), 0) == 0)
            let before = try #require(group.memoryPressure())
            #expect(before.limitBytes == 16 << 20 && before.refaultedPages == 0)
            let child = try spawn(
                "sleep 0.05; dd if=/dev/zero of=\(file) bs=1M count=48; sync \(file); while :; do cat \(file); done",
                in: group)
            #expect(clinux_poll_one(pressure.number, Int16(POLLIN), 20_000) > 0)
            #expect(try !pressure.read(upTo: 4096).isEmpty)
            var now = before
            let end = Clocks.monotonicNanoseconds + 20_000_000_000
            while now.refaultedPages < 10_000, Clocks.monotonicNanoseconds < end {
                usleep(20_000)
                now = try #require(group.memoryPressure())
            }
            #expect(now.refaultedPages >= 10_000 && !now.isThrashing(since: before))
            #expect(group.kill())
            _ = exit(of: child)
        }
    }

    @Test(.enabled(if: isRoot)) func `programs are what has a namespace of its own and is not its first`() throws {
        try withGroup(ControlGroupLimits()) { group in
            var request = SpawnRequest(
                program: "/bin/sh", arguments: ["sh", "-c", "sleep 1000 & sleep 1000 & wait"],
                environment: ["PATH=/usr/bin:/bin"])
            request.newNamespaces = [.pid]
            let unified = try group.openUnified()
            request.cgroup = unified?.number
            let files = try group.openVersionOneProcs()
            request.cgroupProcs = files.map(\.number)
            let child = try ChildProcess.spawn(request)
            withExtendedLifetime((unified, files)) {}
            let outside = try spawn("exec sleep 1000", in: group)
            while group.processes().count < 4 { usleep(1000) }
            #expect(group.programs().count == 2)
            #expect(!group.programs().contains(child.pid) && !group.programs().contains(outside.pid))
            #expect(group.kill())
            _ = (exit(of: child), exit(of: outside))
        }
    }

    @Test(.enabled(if: isRoot)) func `no more tasks than allowed are started`() throws {
        try withGroup(ControlGroupLimits(tasks: 3)) { group in
            let child = try spawn("sleep 0.05; for i in 1 2 3 4 5 6; do sleep 5 & done; echo started all", in: group)
            #expect(exit(of: child).code != 0)
            #expect(group.usage().tasks ?? 99 <= 3)
        }
    }

    @Test(.enabled(if: isRoot)) func `everything in it stands still, goes on, and is ended`() throws {
        try withGroup(ControlGroupLimits(cpus: 0.5)) { group in
            let child = try spawn("while :; do :; done & while :; do :; done", in: group)
            #expect(group.processes().contains(child.pid))
            try group.freeze()
            let before = try ticks(of: child.pid)
            usleep(50_000)
            #expect(try ticks(of: child.pid) == before)
            try group.thaw()
            #expect(group.kill())
            #expect(group.processes().isEmpty)
            _ = exit(of: child)
        }
    }

    /// Time a process has run, as the scheduler counts it.
    private func ticks(of pid: pid_t) throws -> String {
        let text = String(decoding: try AtomicFile.read("/proc/\(pid)/schedstat"), as: UTF8.self)
        return String(text.split(separator: " ").first ?? "")
    }

    @Test(.enabled(if: isRoot)) func `a limit that cannot be set leaves no group`() throws {
        let parent = try ControlGroupParent.make("test-\(getpid())-\(UInt32.random(in: 0 ... .max))")
        defer { parent.remove() }
        let group = ControlGroup("g", in: parent)
        #expect(throws: SystemError.self) {
            try group.create(ControlGroupLimits(ioBytesPerSecond: 1 << 20, disk: "/proc/self"))
        }
        #expect(!group.exists)
        #expect(parent.groups().isEmpty)
    }
}
