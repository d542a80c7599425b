import CLinux
import Glibc
import GuestAgent
import GuestClient
import GuestProtocol
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxModel

/// A real guest agent on a thread of this process, and a connection to it.
struct AgentFixture {
    let connection: GuestConnection

    /// Runs `body` with a connected agent; the agent's thread ends with the connection.
    static func with(_ body: (AgentFixture) async throws -> Void) async throws {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socketpair(&ends), "socketpair")
        let configuration = AgentConfiguration(descriptor: ends[1], machine: UntouchedMachine())
        startThread {
            guard let agent = try? Agent(configuration) else { return }
            agent.run()
        }
        let connection = try await GuestConnection.start(
            descriptor: ends[0], takeover: false, group: NIOSingletons.posixEventLoopGroup,
            logger: Logger(label: "test"))
        try await connection.waitUntilSynchronized()
        do {
            try await body(AgentFixture(connection: connection))
        } catch {
            connection.close()
            throw error
        }
        connection.close()
        try await connection.closed.get()
    }
}

/// A guest's machine that takes what it is told and leaves the computer the tests run on as it is.
struct UntouchedMachine: MachineControl {
    func setClock(nanoseconds: Int64) throws(SystemError) {}
    func reseed(entropy: [UInt8]) throws(SystemError) {}
    func setIdentity(hostname: String, machineID: String) throws(SystemError) {}
    func publishEnvironment(_ environment: [String]) throws(SystemError) {}
    func renewGeneration() throws(SystemError) {}
    func dropConnections() throws(SystemError) {}
    func hasOuterConnections() throws(SystemError) -> Bool { true }
    func hasHostKeys() throws(SystemError) -> Bool { true }
    func removeHostKeys() throws(SystemError) -> [String] { [] }
    func trust(certificate: [UInt8]) throws(SystemError) {}
    func growDisk(to bytes: UInt64) throws(SystemError) {}
    func synchronize() throws(SystemError) {}
    func powerOff() {}
}

/// Runs a blocking loop on a thread of its own.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
    pthread_detach(thread)
}

/// The guest's end of a connection, driven byte by byte: a guest that lies.
final class HostileGuest: Sendable {
    let connection: GuestConnection
    private let descriptor: Descriptor

    private init(connection: GuestConnection, descriptor: Descriptor) {
        self.connection = connection
        self.descriptor = descriptor
    }

    static func start() async throws -> HostileGuest {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socketpair(&ends), "socketpair")
        let connection = try await GuestConnection.start(
            descriptor: ends[0], takeover: false, group: NIOSingletons.posixEventLoopGroup,
            logger: Logger(label: "test"))
        let guest = HostileGuest(connection: connection, descriptor: Descriptor(owning: ends[1]))
        let marker = try await guest.receive(SyncMarker.length)
        try guest.send(marker)
        try await connection.waitUntilSynchronized()
        return guest
    }

    func send(_ bytes: [UInt8]) throws { try descriptor.writeAll(bytes) }

    func send(_ frame: Frame) throws {
        var bytes: [UInt8] = []
        frame.encode(into: &bytes)
        try send(bytes)
    }

    /// Exactly so many bytes from the host.
    func receive(_ count: Int) async throws -> [UInt8] {
        let descriptor = descriptor
        return try await NIOThreadPool.singleton.runIfActive {
            var bytes: [UInt8] = []
            while bytes.count < count {
                let piece = try descriptor.read(upTo: count - bytes.count)
                if piece.isEmpty { break }
                bytes += piece
            }
            return bytes
        }
    }

    /// The next frame from the host.
    func receiveFrame() async throws -> Frame? {
        var decoder = FrameDecoder()
        let header = try await receive(Frame.headerLength)
        guard header.count == Frame.headerLength else { return nil }
        let length = (0..<4).reversed().reduce(0) { $0 << 8 | Int(header[$1]) }
        decoder.append(header)
        decoder.append(try await receive(length + Frame.trailerLength))
        guard case .frame(let frame) = decoder.next() else { return nil }
        return frame
    }
}
