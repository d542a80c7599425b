import CLinux
import Glibc
import Testing

@testable import LinuxSystem

@Suite struct MemoryPressureTests {
    private static let mebibyte: UInt64 = 1 << 20

    private func pressure(files: UInt64, refaulted: UInt64, limit: UInt64 = 280 << 20) -> MemoryPressure {
        MemoryPressure(fileBytes: files, refaultedPages: refaulted, limitBytes: limit)
    }

    @Test func `what both versions of control groups tell is read`() throws {
        let one =
            "cache 2150400\nrss 291500032\nshmem 1048576\nworkingset_refault_anon 0\n"
            + "workingset_refault_file 517761\n"
        let read = try #require(MemoryPressure(stat: Array(one.utf8), limit: 293_601_280))
        #expect(read == MemoryPressure(fileBytes: 1_101_824, refaultedPages: 517_761, limitBytes: 293_601_280))
        let two = "anon 380928\nfile 3162112\nshmem 0\nworkingset_refault_file 724\n"
        let other = try #require(MemoryPressure(stat: Array(two.utf8), limit: 167_763_968))
        #expect(other == MemoryPressure(fileBytes: 3_162_112, refaultedPages: 724, limitBytes: 167_763_968))
    }

    @Test(arguments: ["", "cache 12", "garbage\n\ncache x\nworkingset_refault_file y", "workingset_refault 3\nfile 1"])
    func `a kernel that does not tell is not guessed at`(stat: String) {
        #expect(MemoryPressure(stat: Array(stat.utf8), limit: 1) == nil)
    }

    @Test func `reading a megabyte again and again is a shortage`() {
        // As seen: 50,000 pages in half a second, with one MiB left for files.
        let before = pressure(files: Self.mebibyte, refaulted: 416_394)
        #expect(pressure(files: 946_176, refaulted: 466_394).isThrashing(since: before))
        #expect(!pressure(files: 946_176, refaulted: 416_394).isThrashing(since: before))
        // Once around is no circle.
        #expect(!pressure(files: 946_176, refaulted: 416_394 + 512).isThrashing(since: before))
    }

    @Test func `as long as there is room for files it is none`() {
        let before = pressure(files: 40 << 20, refaulted: 0)
        #expect(!pressure(files: 40 << 20, refaulted: 1_000_000).isThrashing(since: before))
        #expect(!pressure(files: Self.mebibyte, refaulted: 1_000_000).isThrashing(since: before))
        // A large sandbox counts 16 MiB as little, and no more.
        let large = pressure(files: 15 << 20, refaulted: 0, limit: 64 << 30)
        #expect(pressure(files: 15 << 20, refaulted: 100_000, limit: 64 << 30).isThrashing(since: large))
        #expect(!pressure(files: 17 << 20, refaulted: 100_000, limit: 64 << 30).isThrashing(since: large))
    }

    @Test func `counters that go back are no shortage`() {
        #expect(!pressure(files: 0, refaulted: 3).isThrashing(since: pressure(files: 0, refaulted: 1_000_000)))
    }

    @Test func `the largest process is the one with the most memory of its own`() throws {
        let script = "x=$(head -c 20000000 /dev/zero | tr '\\0' a); echo; exec 1>&-; read y"
        var children: [ChildProcess] = []
        var pipes: [Int32] = [-1, -1]
        try #require(clinux_pipe(&pipes, 0) == 0)
        let (reading, writing) = (Descriptor(owning: pipes[0]), Descriptor(owning: pipes[1]))
        var keep: [Int32] = [-1, -1]
        try #require(clinux_pipe(&keep, 0) == 0)
        let (input, output) = (Descriptor(owning: keep[0]), Descriptor(owning: keep[1]))
        for script in ["echo; exec 1>&-; read y", script] {
            children.append(
                try ChildProcess.spawn(
                    SpawnRequest(
                        program: "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"],
                        descriptors: [input.number, writing.number, nil])))
            _ = try reading.read(upTo: 1)
        }
        #expect(MemoryPressure.largest(of: children.map(\.pid) + [-1, 0]) == children[1].pid)
        #expect(MemoryPressure.largest(of: []) == nil)
        withExtendedLifetime(output) {}
        for child in children {
            kill(child.pid, SIGKILL)
            var exit = clinux_exit()
            _ = clinux_poll_one(child.pidfd?.number ?? -1, Int16(POLLIN), 20_000)
            _ = clinux_reap(child.pid, &exit)
        }
    }
}
