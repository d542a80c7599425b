import CLinux
import Foundation
import Glibc
import Testing

@testable import LinuxSystem

/// On real connections, in a network namespace of the test's own.
@Suite(.enabled(if: OwnNetwork.isPossible, "needs a network namespace of its own and the kernel's inet_diag"))
struct TCPConnectionsTests {
    @Test(arguments: ["10.9.8.7", "fd09::7", "::ffff:10.9.8.7"])
    func connectionsBeyondLoopbackBreakAtBothEndsAndListenersStay(_ address: String) async throws {
        try await OwnNetwork.run {
            let server = try TCPEnd.listening(on: address == "::ffff:10.9.8.7" ? "::" : address)
            let connections = try TCPConnections()
            #expect(try connections.list().isEmpty)
            let client = try server.connect(to: address)
            let accepted = try server.accept()
            let waiting = try server.connect(to: address)
            #expect(try connections.list().filter { !$0.isLoopback }.count == 4)
            try connections.endAllBeyondLoopback()
            for end in [client, accepted, waiting] {
                #expect([ECONNABORTED, ECONNRESET].contains(end.readError()))
            }
            #expect(try connections.list().filter { !$0.isLoopback && $0.inode != 0 }.isEmpty)
            // A second time there is nothing to do.
            try connections.endAllBeyondLoopback()
            let again = try server.connect(to: address)
            let other = try server.acceptWhole()
            try again.expectTalk(with: other)
        }
    }

    @Test(arguments: ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    func loopbackLives(_ address: String) async throws {
        try await OwnNetwork.run {
            let server = try TCPEnd.listening(on: address == "::ffff:127.0.0.1" ? "::" : address)
            let client = try server.connect(to: address)
            let accepted = try server.accept()
            try TCPConnections().endAllBeyondLoopback()
            try client.expectTalk(with: accepted)
        }
    }

    /// Closed by its program with bytes still to send, and ended with nothing to send: both are no program's any more.
    @Test func connectionsWithoutAProgramDoNotStandInTheWay() async throws {
        try await OwnNetwork.run {
            let server = try TCPEnd.listening(on: "10.9.8.7")
            let full = try server.connect(to: "10.9.8.7")
            let first = try server.accept()
            try full.fill()
            full.close()
            let closed = try server.connect(to: "10.9.8.7")
            let second = try server.accept()
            closed.close()
            try TCPConnections().endAllBeyondLoopback()
            #expect(first.readError(skippingData: true) != 0)
            // What the other said before it went is still heard, the end; but nothing can be answered.
            #expect(second.writeError() != 0)
            #expect(try TCPConnections().list().filter { $0.inode != 0 }.isEmpty)
        }
    }

    @Test func manyConnectionsAreManyAnswers() async throws {
        try await OwnNetwork.run {
            let server = try TCPEnd.listening(on: "10.9.8.7")
            var ends: [TCPEnd] = []
            for _ in 0..<300 {
                ends.append(try server.connect(to: "10.9.8.7"))
                ends.append(try server.accept())
            }
            let connections = try TCPConnections()
            #expect(try connections.list().count == 600)
            try connections.endAllBeyondLoopback()
            #expect(ends.allSatisfy { $0.readError() != 0 })
        }
    }
}

/// A network namespace with a loopback that also has addresses that are none.
private enum OwnNetwork {
    private static let newNetwork: Int32 = 0x4000_0000

    static let isPossible: Bool = {
        let box = Box()
        let thread = Thread {
            box.isPossible = unshare(newNetwork) == 0 && (try? TCPConnections().list()) != nil
            box.done.signal()
        }
        thread.start()
        box.done.wait()
        return box.isPossible
    }()

    private final class Box: @unchecked Sendable {
        // Written before the semaphore is signalled and read after it was waited for.
        var isPossible = false
        let done = DispatchSemaphore(value: 0)
    }

    /// Runs `body` on a thread that is alone in its namespace.
    static func run(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let thread = Thread {
                continuation.resume(
                    with: Result {
                        try SystemError.check(unshare(newNetwork) == 0 ? 0 : -errno, "unshare")
                        for command in [
                            "link set lo up", "addr add 10.9.8.7/32 dev lo", "addr add fd09::7/128 dev lo nodad",
                        ] {
                            #expect(try ip(command) == 0)
                        }
                        try body()
                    })
            }
            thread.start()
        }
    }

    /// - Returns: its exit code.
    private static func ip(_ command: String) throws -> Int32 {
        let places: [String] = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"]
        let program = places.first { access($0, X_OK) == 0 }
        let arguments = ["ip"] + command.split(separator: " ").map(String.init)
        let child = try ChildProcess.spawn(
            SpawnRequest(program: try #require(program), arguments: arguments, environment: []))
        _ = clinux_poll_one(try #require(child.pidfd).number, Int16(POLLIN), 60_000)
        var exit = clinux_exit()
        #expect(clinux_reap(child.pid, &exit) == 1)
        return exit.code
    }

    /// Not in Glibc's overlay.
    private static func unshare(_ flags: Int32) -> Int32 {
        guard let symbol = dlsym(nil, "unshare") else { return -1 }
        // SAFETY: unshare(2) as the C library declares it.
        return unsafeBitCast(symbol, to: (@convention(c) (Int32) -> Int32).self)(flags)
    }
}

/// A TCP socket, blocking.
private final class TCPEnd {
    private let descriptor: Descriptor

    private init(_ number: Int32) throws {
        descriptor = Descriptor(owning: try SystemError.check(number < 0 ? -errno : number, "socket"))
    }

    static func listening(on address: String) throws -> TCPEnd {
        try withAddress(address, port: 0) { info in
            let end = try TCPEnd(socket(info.ai_family, info.ai_socktype, info.ai_protocol))
            try SystemError.check(bind(end.descriptor.number, info.ai_addr, info.ai_addrlen) < 0 ? -errno : 0, "bind")
            try SystemError.check(listen(end.descriptor.number, 512) < 0 ? -errno : 0, "listen")
            return end
        }
    }

    /// A client of this server.
    func connect(to address: String) throws -> TCPEnd {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor.number, $0, &length) }
        }
        try SystemError.check(result < 0 ? -errno : 0, "getsockname")
        // The port is the second field of both families' addresses, in network order.
        let port = withUnsafeBytes(of: &name) {
            UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        }
        return try TCPEnd.withAddress(address, port: port) { info in
            let end = try TCPEnd(socket(info.ai_family, info.ai_socktype, info.ai_protocol))
            var connected = Glibc.connect(end.descriptor.number, info.ai_addr, info.ai_addrlen)
            // The way to an IPv6 address comes a moment after the address, and nothing tells when.
            for _ in 0..<5000 where connected < 0 && errno == ENETUNREACH {
                usleep(1000)
                connected = Glibc.connect(end.descriptor.number, info.ai_addr, info.ai_addrlen)
            }
            try SystemError.check(connected < 0 ? -errno : 0, "connect", address)
            return end
        }
    }

    func accept() throws -> TCPEnd { try TCPEnd(Glibc.accept(descriptor.number, nil, nil)) }

    /// The next connection that is not broken already.
    func acceptWhole() throws -> TCPEnd {
        while true {
            let end = try accept()
            var code: Int32 = 0
            var length = socklen_t(4)
            var name = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let result = withUnsafeMutablePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(end.descriptor.number, $0, &size) }
            }
            getsockopt(end.descriptor.number, SOL_SOCKET, SO_ERROR, &code, &length)
            if result == 0, code == 0 { return end }
        }
    }

    func close() { descriptor.close() }

    /// Writes until nothing more is taken.
    func fill() throws {
        try descriptor.setNonBlocking()
        let piece = [UInt8](repeating: 1, count: 65_536)
        while clinux_write(descriptor.number, piece, piece.count) > 0 {}
    }

    /// What a read fails with; 0 if it does not.
    func readError(skippingData: Bool = false) -> Int32 {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = clinux_read(descriptor.number, &bytes, bytes.count)
            if count < 0 { return Int32(-count) }
            if count == 0 || !skippingData { return 0 }
        }
    }

    /// What a write fails with; 0 if it does not.
    func writeError() -> Int32 {
        // The kernel's signal would end the test.
        let count = send(descriptor.number, [1], 1, Int32(MSG_NOSIGNAL))
        return count < 0 ? errno : 0
    }

    func expectTalk(with other: TCPEnd) throws {
        try descriptor.writeAll(Array("there".utf8))
        #expect(try other.descriptor.read(upTo: 5) == Array("there".utf8))
        try other.descriptor.writeAll(Array("back".utf8))
        #expect(try descriptor.read(upTo: 4) == Array("back".utf8))
    }

    private static func withAddress<R>(_ host: String, port: UInt16, _ body: (addrinfo) throws -> R) throws -> R {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        try #require(getaddrinfo(host, "\(port)", &hints, &found) == 0)
        defer { freeaddrinfo(found) }
        return try body(try #require(found).pointee)
    }
}
