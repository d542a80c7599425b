import Foundation
import NIOPosix
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// The client against servers that lie: whoever breaks out of a guest is behind the socket.
@Suite(.timeLimit(.minutes(1)))
struct HTTPExchangeTests {
    private func failure(
        _ pieces: [[UInt8]], holds: Bool = false, timeout: Duration = .seconds(20)
    ) async throws -> MartletError? {
        let server = try LyingServer(pieces, holds: holds)
        defer { server.close() }
        let exchange = HTTPExchange(
            directory: server.directory, socket: LyingServer.name, group: MultiThreadedEventLoopGroup.singleton)
        do {
            _ = try await exchange.send("GET", "/", nil, object: "thing", timeout: timeout)
            return nil
        } catch let error as MartletError {
            #expect(error.message.contains("thing"))
            return error
        }
    }

    private func failure(_ text: String, holds: Bool = false, timeout: Duration = .seconds(20)) async throws
        -> MartletError?
    {
        try await failure([Array(text.utf8)], holds: holds, timeout: timeout)
    }

    @Test func readsAnAnswer() async throws {
        let server = try LyingServer("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}and more", holds: true)
        defer { server.close() }
        let exchange = HTTPExchange(
            directory: server.directory, socket: LyingServer.name, group: MultiThreadedEventLoopGroup.singleton)
        let answer = try await exchange.send("GET", "/", nil, object: "thing", timeout: .seconds(20))
        #expect(answer == HTTPExchange.Answer(status: 200, body: Array("{}".utf8)))
    }

    @Test func refusesWhatIsNoHTTP() async throws {
        #expect(try await failure("SSH-2.0-lie\r\n\r\n", holds: true)?.code == .internal)
    }

    @Test func refusesABodyWithoutEnd() async throws {
        let block = [UInt8](repeating: 97, count: 65_536)
        let endless =
            [Array("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n".utf8)] + Array(repeating: block, count: 32)
        #expect(try await failure(endless, holds: true)?.code == .tooLarge)
    }

    @Test func refusesAHeadWithoutEnd() async throws {
        let line = Array("X-Lie: \(String(repeating: "a", count: 4000))\r\n".utf8)
        let error = try await failure(
            [Array("HTTP/1.1 200 OK\r\n".utf8)] + Array(repeating: line, count: 400), holds: true)
        #expect(error?.code == .tooLarge || error?.code == .internal)
    }

    @Test func noticesAnAnswerThatIsCutOff() async throws {
        let error = try await failure("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
        #expect(error?.code == .unavailable || error?.code == .internal)
    }

    @Test func waitsNoLongerThanItIsTold() async throws {
        #expect(try await failure("", holds: true, timeout: .milliseconds(50))?.code == .timeout)
        #expect(
            try await failure("HTTP/1.1 100 Continue\r\n\r\n", holds: true, timeout: .milliseconds(50))?.code
                == .timeout)
    }

    @Test func aSocketThatIsNotThereIsUnavailable() async throws {
        let exchange = HTTPExchange(
            directory: NSTemporaryDirectory(), socket: "martlet-none.sock", group: MultiThreadedEventLoopGroup.singleton
        )
        await #expect(throws: MartletError.self) {
            try await exchange.send("GET", "/", nil, object: "thing", timeout: .seconds(1))
        }
    }

    @Test func aSocketThatIsALinkIsRefused() async throws {
        let server = try LyingServer("HTTP/1.1 204 \r\n\r\n")
        defer { server.close() }
        try FileManager.default.createSymbolicLink(
            atPath: server.directory + "/link", withDestinationPath: server.directory + "/" + LyingServer.name)
        let exchange = HTTPExchange(
            directory: server.directory, socket: "link", group: MultiThreadedEventLoopGroup.singleton)
        let error = await #expect(throws: MartletError.self) {
            try await exchange.send("GET", "/", nil, object: "thing", timeout: .seconds(5))
        }
        #expect(error?.code == .unavailable)
    }

    @Test func endsWithItsTask() async throws {
        let server = try LyingServer("", holds: true)
        defer { server.close() }
        let exchange = HTTPExchange(
            directory: server.directory, socket: LyingServer.name, group: MultiThreadedEventLoopGroup.singleton)
        let task = Task { try await exchange.send("GET", "/", nil, object: "thing", timeout: .seconds(50)) }
        task.cancel()
        await #expect(throws: CancellationError.self) { _ = try await task.value }
    }

    @Test func faultsKeepTheirWordsAndNothingElse() {
        let body = Array(#"{"fault_message":"bad\u0007 path\u001b[31m \#(String(repeating: "x", count: 900))"}"#.utf8)
        let error = FirecrackerAPI.fault(.init(status: 400, body: body), "drive root")
        #expect(error.code == .failedPrecondition)
        #expect(error.message.hasPrefix("firecracker: drive root: bad path[31m xxx"))
        #expect(error.message.count < 600)
        let bare = FirecrackerAPI.fault(.init(status: 500, body: []), "start")
        #expect(bare.code == .internal && bare.message.contains("status 500"))
    }
}
