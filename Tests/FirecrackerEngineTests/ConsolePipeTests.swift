import Glibc
import LinuxSystem
import Testing

@testable import FirecrackerEngine

@Suite(.timeLimit(.minutes(1))) struct ConsolePipeTests {
    @Test func whatWasWrittenIsThereAgainAndAgain() throws {
        let (pipe, end) = try ConsolePipe.make()
        #expect(pipe.read().isEmpty)
        try end.writeAll(Array("one ".utf8))
        #expect(pipe.read() == Array("one ".utf8))
        try end.writeAll(Array("two".utf8))
        #expect(pipe.read() == Array("one two".utf8))
        end.close()
        #expect(pipe.read() == Array("one two".utf8))
    }

    @Test func aGuestThatWritesWithoutEndIsNeitherKeptNorStopped() throws {
        let (pipe, end) = try ConsolePipe.make()
        for round in 0..<4 {
            // Until it takes no more, at once.
            while (try? end.writeAll([UInt8](repeating: UInt8(round), count: 4096))) != nil {}
            let log = pipe.read()
            #expect(log.count <= 65_536 && log.last == UInt8(round))
        }
    }
}
