import CLinux
import Foundation
import Glibc
import LinuxSystem
import Testing

@Suite struct AtomicFileTests {
    @Test func replacesWholeAndLeavesNothingBeside() throws {
        try withDirectory { directory in
            let path = directory + "/file"
            for content in [[UInt8](repeating: 1, count: 100_000), [2], []] {
                try AtomicFile.write(content, to: path, mode: 0o640)
                #expect(try AtomicFile.read(path) == content)
            }
            var info = stat()
            #expect(stat(path, &info) == 0)
            #expect(info.st_mode & 0o777 == 0o640)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["file"])
        }
    }

    @Test func aFailureLeavesTheOldFile() throws {
        try withDirectory { directory in
            let path = directory + "/file"
            try AtomicFile.write([1], to: path)
            // What stands in the way of the new file cannot be written to.
            mkdir(path + ".new", 0o700)
            #expect(throws: SystemError.self) { try AtomicFile.write([2], to: path) }
            #expect(try AtomicFile.read(path) == [1])
        }
    }

    @Test func readsNoMoreThanItsLimitAndNamesWhatIsMissing() throws {
        try withDirectory { directory in
            try AtomicFile.write([UInt8](repeating: 7, count: 1000), to: directory + "/file")
            #expect(try AtomicFile.read(directory + "/file", limit: 10).count == 10)
            let error = #expect(throws: SystemError.self) { try AtomicFile.read(directory + "/missing") }
            #expect(error?.errno == ENOENT)
            #expect(error?.object == directory + "/missing")
        }
    }

    private func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = NSTemporaryDirectory() + "martlet-system-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }
}

@Suite struct ProcessHandleTests {
    @Test func findsTheVeryProcessAgainUntilItHasEnded() throws {
        let child = try ChildProcess.spawn(
            SpawnRequest(program: "/bin/sleep", arguments: ["sleep", "1000"], environment: []))
        let handle = try ProcessHandle.open(pid: child.pid)
        #expect(!handle.hasEnded)
        #expect(handle.identity.bootID.count == 36)
        let again = try #require(ProcessHandle.reopen(handle.identity))
        #expect(again.identity == handle.identity)
        var stranger = handle.identity
        stranger.startTime += 1
        #expect(ProcessHandle.reopen(stranger) == nil)
        stranger = handle.identity
        stranger.bootID = "another boot"
        #expect(ProcessHandle.reopen(stranger) == nil)
        #expect(try handle.memory().private > 0)
        handle.signal(SIGKILL)
        #expect(handle.waitForEnd(milliseconds: 60_000))
        #expect(handle.hasEnded)
        #expect(ProcessHandle.reopen(handle.identity) == nil)
        handle.reap()
        handle.signal(SIGKILL)
        #expect(throws: SystemError.self) { try ProcessHandle.open(pid: child.pid) }
    }
}

@Suite struct TerminalDescriptorTests {
    @Test func aTerminalHasTwoEndsAndASize() throws {
        var main: Int32 = -1
        var replica: Int32 = -1
        try SystemError.check(clinux_open_terminal(&main, &replica, 24, 80), "open")
        let ends = (Descriptor(owning: main), Descriptor(owning: replica))
        for end in [ends.0, ends.1] { #expect(fcntl(end.number, F_GETFD) & FD_CLOEXEC != 0) }
        var rows: UInt16 = 0
        var columns: UInt16 = 0
        #expect(clinux_terminal_size(ends.1.number, &rows, &columns) == 0)
        #expect(rows == 24 && columns == 80)
        #expect(clinux_resize_terminal(ends.0.number, 50, 132) == 0)
        #expect(clinux_terminal_size(ends.1.number, &rows, &columns) == 0)
        #expect(rows == 50 && columns == 132)
        try ends.1.writeAll(Array("x\n".utf8))
        #expect(try ends.0.read(upTo: 10) == Array("x\r\n".utf8))
        ends.1.close()
        let error = #expect(throws: SystemError.self) { try ends.0.read(upTo: 10) }
        #expect(error?.errno == EIO)
    }

    @Test func rawModeIsUndone() throws {
        var main: Int32 = -1
        var replica: Int32 = -1
        try SystemError.check(clinux_open_terminal(&main, &replica, 24, 80), "open")
        let ends = (Descriptor(owning: main), Descriptor(owning: replica))
        var saved = [UInt8](repeating: 0, count: clinux_termios_size())
        #expect(clinux_terminal_raw(ends.1.number, &saved) == 0)
        try ends.1.writeAll(Array("x\n".utf8))
        #expect(try ends.0.read(upTo: 10) == Array("x\n".utf8))
        #expect(clinux_terminal_restore(ends.1.number, saved) == 0)
        try ends.1.writeAll(Array("y\n".utf8))
        #expect(try ends.0.read(upTo: 10) == Array("y\r\n".utf8))
    }
}

@Suite struct DescriptorTests {
    @Test func isClosedOnceAndOnExec() throws {
        let descriptor = try Descriptor.open("/dev/null", O_RDWR)
        #expect(fcntl(descriptor.number, F_GETFD) & FD_CLOEXEC != 0)
        let number = descriptor.release()
        descriptor.close()
        #expect(fcntl(number, F_GETFD) >= 0)
        close(number)
    }

    @Test func anErrorSaysWhatWasTriedOnWhat() {
        let error = #expect(throws: SystemError.self) { try Descriptor.open("/no/such/file", O_RDONLY) }
        #expect(error?.description == "open: /no/such/file: No such file or directory")
    }

    @Test func clocksGoForward() {
        var watch = Stopwatch()
        let first = Clocks.monotonicNanoseconds
        watch.lap("one")
        #expect(Clocks.monotonicNanoseconds >= first)
        #expect(watch.phases["one"] ?? -1 >= 0)
        #expect(Clocks.realtimeMilliseconds > 1_600_000_000_000)
    }
}
