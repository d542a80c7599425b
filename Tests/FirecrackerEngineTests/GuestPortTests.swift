import CLinux
import Foundation
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// The way to a guest's port, against whoever may answer in Firecracker's place.
@Suite(.timeLimit(.minutes(1)))
struct GuestPortTests {
    private func connect(
        _ answer: String, holds: Bool = true, timeout: Duration = .seconds(20)
    ) throws -> (Descriptor, LyingServer) {
        let server = try LyingServer(answer, holds: holds)
        do {
            let port = try GuestPort.connect(
                directory: server.directory, socket: LyingServer.name, port: 1025, timeout: timeout)
            return (port, server)
        } catch {
            server.close()
            throw error
        }
    }

    private func code(_ answer: String, holds: Bool = true, timeout: Duration = .seconds(20)) throws -> MartletError
        .Code?
    {
        do {
            try connect(answer, holds: holds, timeout: timeout).1.close()
            return nil
        } catch let error as MartletError {
            #expect(error.message.contains("guest port 1025"))
            return error.code
        }
    }

    @Test func leavesTheGuestsFirstBytesAlone() throws {
        let (port, server) = try connect("OK 1073741824\nhello")
        defer { server.close() }
        #expect(try port.read(upTo: 5) == Array("hello".utf8))
    }

    @Test func refusedMeansThatNothingListens() throws { #expect(try code("", holds: false) == .unavailable) }

    @Test(arguments: [
        "NO 5\n", "OK\n", "OK five\n", "OK -1\n", "OK 99999999999\n", "ok 5\n", "\n",
        String(repeating: "O", count: 5000),
    ])
    func anotherAnswerIsNone(_ answer: String) throws { #expect(try code(answer) == .internal) }

    @Test func silenceHasItsEnd() throws {
        #expect(try code("", timeout: .milliseconds(50)) == .timeout)
        #expect(try code("OK 1", timeout: .milliseconds(50)) == .timeout)
    }

    @Test func thePortIsAskedFor() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let (ours, theirs) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        try theirs.writeAll(Array("OK 7\n".utf8))
        try GuestPort.handshake(ours, port: 52, timeout: .seconds(20))
        #expect(try theirs.read(upTo: 100) == Array("CONNECT 52\n".utf8))
    }
}
