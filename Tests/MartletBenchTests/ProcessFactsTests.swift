import Glibc
import LinuxSystem
import Testing

@testable import MartletBench

@Suite(.timeLimit(.minutes(1))) struct ProcessFactsTests {
    private let own = ProcessFacts(pid: getpid())

    @Test func childrenAreThoseThatAreThere() async throws {
        let child = try ChildProcess.spawn(
            SpawnRequest(program: "/bin/sleep", arguments: ["sleep", "1000000"], environment: []))
        let handle = try ProcessHandle.open(pid: child.pid)
        #expect(own.children.contains(child.pid))
        #expect(ProcessFacts(pid: child.pid).children.isEmpty)
        // Its standard streams, and nothing else.
        #expect(ProcessFacts(pid: child.pid).descriptors == 3)
        handle.signal(SIGKILL)
        await ExitWatcher.shared.waitUntilEnded(handle)
        #expect(!own.children.contains(child.pid))
        #expect(ProcessFacts(pid: child.pid).residentMiB == 0)
    }

    @Test func aPeakStartsAnewAndSeesWhatCameAndWent() throws {
        try own.resetPeak()
        let before = own.residentMiB
        var block = [UInt8](repeating: 1, count: 64 << 20)
        block[block.count / 2] = 2
        #expect(block[0] == 1 && block[block.count / 2] == 2)
        block = []
        // Tests beside this one take and give back memory too.
        #expect(own.peakMiB - before > 32)
        #expect(try own.memoryMiB().own > 1)
    }

    @Test func filesAreCountedThroughDirectoriesAndLinksAreNotFollowed() async throws {
        try await ScratchDirectory.with { scratch in
            #expect(mkdir(scratch.path + "/a", 0o700) == 0 && mkdir(scratch.path + "/a/b", 0o700) == 0)
            for name in ["one", "a/two", "a/b/three"] {
                try AtomicFile.write(Array(repeating: 1, count: 5000), to: "\(scratch.path)/\(name)", durable: false)
            }
            #expect(symlink("/", scratch.path + "/link") == 0)
            let files = ProcessFacts.files(below: scratch.path)
            #expect(files.count == 4 && files.bytes < 1 << 20)
        }
        #expect(ProcessFacts.files(below: "/does/not/exist").count == 0)
    }

    @Test func processorTimeGoesForward() {
        let before = own.processorMilliseconds
        let start = Clocks.monotonicNanoseconds
        var sum: UInt64 = 0
        while own.processorMilliseconds < before + 10, Clocks.monotonicNanoseconds - start < 20_000_000_000 {
            for value: UInt64 in 0..<10_000 { sum &+= value }
        }
        #expect(own.processorMilliseconds >= before + 10 && sum > 0)
        #expect(ProcessFacts.memoryAvailableMiB > 0)
    }
}
