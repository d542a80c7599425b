import Foundation
import Glibc
import GuestProtocol
import LinuxSystem
import Testing

@testable import GuestAgent

@Suite(.timeLimit(.minutes(1)))
struct VsockPortTests {
    @Test func `the kernel's command line names the port`() {
        #expect(VsockPort(commandLine: "quiet martlet.vsock=1025 martlet.pids=9\n")?.number == 1025)
    }

    @Test(arguments: [
        "", "quiet", "martlet.vsock", "martlet.vsock=", "martlet.vsock=0", "martlet.vsock=-1", "martlet.vsock=x",
        "martlet.vsock=4294967295", "martlet.vsock=4294967296", "xmartlet.vsock=5",
    ])
    func `without a number there is none`(line: String) { #expect(VsockPort(commandLine: line) == nil) }

    @Test func `only the host's address is the host's`() {
        // sockaddr_vm: family 40, a port, and the address of the machine.
        func address(family: UInt8 = 40, machine: UInt8, size: Int = 16) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: size)
            bytes[0] = family
            bytes[4] = 99
            bytes[8] = machine
            return bytes
        }
        #expect(VsockPort.isHost(address(machine: 2)))
        for machine: UInt8 in [0, 1, 3, 255] { #expect(!VsockPort.isHost(address(machine: machine))) }
        #expect(!VsockPort.isHost(address(family: 1, machine: 2)))
        #expect(!VsockPort.isHost(address(machine: 2, size: 12)))
    }

    @Test func `another kind of socket is nobody's host`() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let held = ends.map { Descriptor(owning: $0) }
        #expect(!VsockPort.isFromHost(ends[0]))
        withExtendedLifetime(held) {}
    }

    private static let hasVsock: Bool = {
        let number = socket(40, Int32(SOCK_STREAM.rawValue), 0)
        if number >= 0 { close(number) }
        return number >= 0
    }()

    @Test(.enabled(if: hasVsock, "this kernel has no AF_VSOCK"))
    func `it is listened at, by one`() throws {
        let port = try #require(VsockPort(commandLine: "martlet.vsock=\(UInt32.random(in: 100_000..<1_000_000))"))
        let listener = Descriptor(owning: try port.listen())
        var isListening: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        #expect(getsockopt(listener.number, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0 && isListening == 1)
        let error = #expect(throws: SystemError.self) { try port.listen() }
        #expect(error?.errno == EADDRINUSE)
    }

    @Test func `who is no host is sent away, and the host is served on`() async throws {
        let listener = try UnixSocketInFolder()
        defer { listener.remove() }
        let number = listener.descriptor.number
        try await AgentFixture.with {
            $0.listener = number
            $0.admitsHost = { _ in false }
        } _: { fixture in
            let stranger = try UnixSocket.connect(in: listener.folder, name: UnixSocketInFolder.name)
            let heard = try await Task.detached { try stranger.read(upTo: 1) }.value
            #expect(heard.isEmpty)
            let hello = try await fixture.client.request(.ping, as: GuestHello.self)
            #expect(hello.agentVersion == AgentVersion.string)
        }
    }

    @Test func `a host that comes anew is served instead`() async throws {
        let listener = try UnixSocketInFolder()
        defer { listener.remove() }
        let number = listener.descriptor.number
        try await AgentFixture.with {
            $0.listener = number
        } _: { _ in
            let host = TestClient(try UnixSocket.connect(in: listener.folder, name: UnixSocketInFolder.name))
            try await host.synchronize()
            #expect(try await host.request(.ping, as: GuestHello.self).agentVersion == AgentVersion.string)
            await host.close()
        }
    }
}

/// A listening socket in a folder of its own.
private struct UnixSocketInFolder {
    static let name = "agent.sock"
    let path = NSTemporaryDirectory() + "martlet-listen-\(UUID().uuidString.prefix(8))"
    let folder: Descriptor
    let descriptor: Descriptor

    init() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        folder = try Descriptor.openDirectory(path)
        descriptor = try UnixSocket.listen(in: folder, name: UnixSocketInFolder.name)
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
