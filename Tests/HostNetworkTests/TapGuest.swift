import CLinux
import Glibc
import LinuxSystem
import SandboxModel
import Synchronization

@testable import HostNetwork

/// Plays the machine of a slot: writes any frame it likes into the tap, and reads what comes.
final class TapGuest: Sendable {
    /// virtio_net_hdr without buffers: no offloads.
    private static let header = [UInt8](repeating: 0, count: 10)
    private static let patience: Int32 = 10_000

    private let tap: Descriptor
    private let thread: NetworkThread
    private let nextPort = Mutex<UInt16>(40_000)

    init(_ slot: NetworkSlot, _ lab: NetworkLab) async throws {
        tap = try await slot.openTap()
        thread = lab.thread
    }

    func port() -> UInt16 {
        nextPort.withLock { port in
            port += 1
            return port
        }
    }

    func send(_ frame: Frame) throws { try send(raw: frame.bytes) }

    func send(raw: [UInt8]) throws { try tap.writeAll(TapGuest.header + raw) }

    /// The next frame that is what is looked for; nil when none comes in a long time.
    func receive(_ wanted: @escaping @Sendable (Received) -> Bool) async throws -> Received? {
        let tap = tap
        return try await thread.run(.background) {
            let end = clinux_monotonic_ns() + Int64(TapGuest.patience) * 1_000_000
            while clinux_monotonic_ns() < end {
                guard clinux_poll_one(tap.number, Int16(POLLIN), TapGuest.patience) > 0 else { return nil }
                let bytes = try tap.read(upTo: 70_000)
                if let frame = Received(Array(bytes.dropFirst(TapGuest.header.count))), wanted(frame) { return frame }
            }
            return nil
        }
    }

    /// Begins a TCP connection and gives the answer: accepted, reset, or refused by ICMP.
    func connect(to address: IPv4Address, _ port: UInt16, sourcePort: UInt16? = nil) async throws -> Received? {
        let own = sourcePort ?? self.port()
        try send(.tcp(to: address, port, sourcePort: own))
        return try await receive { $0.number == 6 && $0.from == address && $0.port == own }
    }
}

/// What a slot told of refusals, for tests to wait for.
final class Denials: Sendable {
    private let found: AsyncStream<NetworkDenial>
    private let continuation: AsyncStream<NetworkDenial>.Continuation
    private let all = Mutex<[NetworkDenial]>([])

    init() { (found, continuation) = AsyncStream.makeStream() }

    var tell: @Sendable (NetworkDenial) -> Void {
        { [self] denial in
            all.withLock { $0.append(denial) }
            continuation.yield(denial)
        }
    }

    var soFar: [NetworkDenial] { all.withLock { $0 } }

    /// The next one of a rule; waits for it as long as the test may run.
    func next(_ rule: String) async -> NetworkDenial? {
        for await denial in found where denial.rule == rule { return denial }
        return nil
    }
}
