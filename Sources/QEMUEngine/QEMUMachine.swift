import FoundationEssentials
import Glibc
import GuestClient
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization

/// One QEMU process: a shell at first, a machine once restored.
final class QEMUMachine: Machine {
    let guest: GuestConnection
    private let process: ProcessHandle
    private let monitor: QMPConnection
    private let directory: String
    private let console = Mutex<[UInt8]>([])
    /// The two sockets in a machine's directory.
    enum Socket {
        static let monitor = "qmp.sock"
        static let guest = "guest.sock"
    }

    private init(process: ProcessHandle, monitor: QMPConnection, guest: GuestConnection, directory: String) {
        self.process = process
        self.monitor = monitor
        self.guest = guest
        self.directory = directory
    }

    /// Connects to the sockets in `directory` that `process` listens on.
    ///
    /// - Parameter takeover: whether an earlier daemon was connected before.
    static func connect(
        process: ProcessHandle, directory: String, takeover: Bool, timeout: Duration, group: any EventLoopGroup,
        logger: Logger
    ) async throws -> QEMUMachine {
        let (monitorSocket, guestSocket) = try connectSockets(in: directory)
        let monitor = try await QMPConnection.start(
            descriptor: monitorSocket.release(), group: group, timeout: timeout)
        do {
            let guest = try await GuestConnection.start(
                descriptor: guestSocket.release(), takeover: takeover, group: group, logger: logger)
            return QEMUMachine(process: process, monitor: monitor, guest: guest, directory: directory)
        } catch {
            monitor.close()
            throw error
        }
    }

    private static func connectSockets(in directory: String) throws -> (Descriptor, Descriptor) {
        let folder = try Descriptor.openDirectory(directory)
        return (
            try UnixSocket.connect(in: folder, name: Socket.monitor),
            try UnixSocket.connect(in: folder, name: Socket.guest)
        )
    }

    func restore() async throws {
        // Without -S the machine runs as soon as its state is loaded; the event tells.
        try await monitor.execute(
            "migrate-incoming", "{\"uri\":\"fd:\(QEMUArguments.ChildDescriptor.deviceState)\"}", until: "RESUME",
            timeout: .seconds(30))
    }

    func growDisk(toMiB size: Int) async throws {
        try await monitor.execute("block_resize", "{\"node-name\":\"root\",\"size\":\(size << 20)}")
    }

    func pause() async throws { try await monitor.execute("stop") }

    func resume() async throws { try await monitor.execute("cont") }

    /// Writes the device state, without memory, into a file.
    func saveDeviceState(to path: String) async throws {
        // Its name tells where the command came from, not what it needs: it works under every accelerator.
        try await monitor.execute(
            "xen-save-devices-state", "{\"filename\":\(jsonString(path)),\"live\":false}", timeout: .seconds(30))
    }

    /// Asks the process to end after it has written everything out.
    func quit() async throws {
        try? await monitor.execute("quit")
        await waitUntilEnded()
    }

    func consoleLog() async throws -> [UInt8] {
        let size = QEMUArguments.consoleBytes
        let text = try await monitor.execute(
            "ringbuf-read", "{\"device\":\"console\",\"size\":\(size),\"format\":\"base64\"}", as: String.self)
        // Reading empties the ring, so what was read is kept here, as much as the ring itself would hold.
        let fresh = Array(Data(base64Encoded: text) ?? Data())
        return console.withLock { log in
            log.append(contentsOf: fresh)
            if log.count > size { log.removeFirst(log.count - size) }
            return log
        }
    }

    func memory() async throws -> (private: UInt64, proportional: UInt64) {
        let process = process
        return try await NIOThreadPool.singleton.runIfActive { try process.memory() }
    }

    func waitUntilEnded() async { await ExitWatcher.shared.waitUntilEndedOrCancelled(process) }

    func kill() async {
        guest.close()
        monitor.close()
        process.signal(SIGKILL)
        await ExitWatcher.shared.waitUntilEnded(process)
    }
}
