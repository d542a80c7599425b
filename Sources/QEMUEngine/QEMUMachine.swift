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
    let process: ProcessHandle
    let monitor: QMPConnection
    let files: MachineFiles
    /// What its memory was mapped from; nil where only the image's path tells.
    private let memory: ProcessMemory.File?
    /// nil where its process runs unjailed.
    let jail: QEMUJail?
    let overlays: OverlayTemplates
    /// One change of the disk's layers at a time.
    let diskWork = AsyncLock()
    let state: Mutex<State>
    private let console = Mutex<[UInt8]>([])
    private let group: any EventLoopGroup
    private let logger: Logger

    struct State {
        var guest: GuestConnection
        /// What it stands on; of its own capture it only has what it wrote since.
        var image: MachineImage
        var chain: LayerChain
        /// A merge of layers is under way in QEMU.
        var isMerging = false
    }

    /// Files in a machine's directory.
    enum File {
        static let monitor = "qmp.sock"
        static let guest = "guest.sock"
        static let deviceState = "device-state"
        /// What QEMU writes its state to, before it is copied to where it is wanted.
        static let savedState = "saved-state"
    }

    var directory: String { files.directory }

    /// What it takes to get hold of a machine.
    struct Surroundings: Sendable {
        var overlays: OverlayTemplates
        var jail: QEMUJail?
        var group: any EventLoopGroup
        var logger: Logger
    }

    private init(
        process: ProcessHandle, monitor: QMPConnection, guest: GuestConnection, image: MachineImage,
        memory: ProcessMemory.File?, chain: LayerChain, surroundings: Surroundings
    ) {
        self.process = process
        self.memory = memory
        self.monitor = monitor
        files = chain.files
        jail = surroundings.jail
        overlays = surroundings.overlays
        group = surroundings.group
        logger = surroundings.logger
        state = Mutex(State(guest: guest, image: image, chain: chain))
    }

    /// Connects to the sockets in the directory of `files` that `process` listens on.
    ///
    /// - Parameters:
    ///   - memory: the file its memory was mapped from.
    ///   - takeover: whether an earlier daemon was connected before.
    static func connect(
        process: ProcessHandle, files: MachineFiles, image: MachineImage, memory: ProcessMemory.File?, takeover: Bool,
        timeout: Duration, surroundings: Surroundings
    ) async throws -> QEMUMachine {
        let directory = files.directory
        let monitor = try await QMPConnection.start(
            descriptor: try socket(File.monitor, in: directory).release(), group: surroundings.group, timeout: timeout)
        do {
            var chain = LayerChain(files: files, baseDisks: image.baseDisks.count)
            if takeover {
                await endMerge(monitor)
                let graph = try await monitor.execute("x-debug-query-block-graph", as: BlockGraph.self)
                guard let names = graph.layers() else {
                    throw MartletError(.unavailable, "qemu: its disk is not what it was started with")
                }
                chain.names = names
            }
            let guest = try await connectGuest(in: directory, takeover: takeover, surroundings)
            return QEMUMachine(
                process: process, monitor: monitor, guest: guest, image: image, memory: memory, chain: chain,
                surroundings: surroundings)
        } catch {
            monitor.close()
            throw error
        }
    }

    /// Ends a merge of layers that an earlier daemon began; what it has copied stays.
    private static func endMerge(_ monitor: QMPConnection) async {
        // That there is none is an error, and the usual case.
        try? await monitor.execute(
            "block-job-cancel", "{\"device\":\"\(QEMUMachine.mergeJob)\"}",
            until: ["BLOCK_JOB_CANCELLED", "BLOCK_JOB_COMPLETED"], timeout: .seconds(10))
    }

    private static func socket(_ name: String, in directory: String) throws -> Descriptor {
        try UnixSocket.connect(in: try Descriptor.openDirectory(directory), name: name)
    }

    private static func connectGuest(
        in directory: String, takeover: Bool, _ surroundings: Surroundings
    ) async throws -> GuestConnection {
        try await GuestConnection.start(
            descriptor: try socket(File.guest, in: directory).release(), takeover: takeover,
            group: surroundings.group, logger: surroundings.logger)
    }

    /// Connects to the guest anew, as after a daemon that was cut off in the middle of a frame.
    func reconnectGuest() async throws {
        guest.close()
        try await guest.closed.get()
        let fresh = try await QEMUMachine.connectGuest(
            in: directory, takeover: true, Surroundings(overlays: overlays, jail: jail, group: group, logger: logger))
        state.withLock { $0.guest = fresh }
    }

    var pid: Int32 { process.pid }

    /// Where the process has its image's memory. Blocks the thread.
    func mappedMemory(of image: MachineImage) throws(SystemError) -> ProcessMemory {
        guard let memory else { return try ProcessMemory.mapping(of: image.memory, in: process.pid) }
        return try ProcessMemory.mapping(of: memory, in: process.pid)
    }

    var guest: GuestConnection { state.withLock { $0.guest } }

    func growDisk(toMiB size: Int) async throws {
        try await diskWork.withLock {
            let node = self.state.withLock { $0.chain.active }
            try await self.monitor.execute(
                "block_resize", "{\"node-name\":\(jsonString(node)),\"size\":\(size << 20)}")
            self.state.withLock { $0.image.diskBytes = UInt64(size) << 20 }
        }
    }

    func pause() async throws { try await monitor.execute("stop") }

    func resume() async throws { try await monitor.execute("cont") }

    /// More than any honest device state; one of a microVM has some 20 KiB.
    private static let maxStateBytes = 16 << 20

    /// Writes the device state, without memory, into a file.
    func saveDeviceState(to path: String) async throws {
        let (files, name) = (files, File.savedState)
        defer { unlink(files.path(name)) }
        try await NIOThreadPool.singleton.runIfActive {
            unlink(files.path(name))
            try files.make(name)
            try files.give(name)
        }
        // Its name tells where the command came from, not what it needs: it works under every accelerator.
        try await monitor.execute(
            "xen-save-devices-state", "{\"filename\":\(jsonString(files.inside(name))),\"live\":false}",
            timeout: .seconds(30))
        // A copy, for the process may still have its file open and write to it later.
        try await NIOThreadPool.singleton.runIfActive {
            let state = try files.read(name, limit: QEMUMachine.maxStateBytes)
            unlink(path)
            try Descriptor.open(path, O_WRONLY | O_CREAT | O_EXCL).writeAll(state)
        }
    }

    /// Asks the process to end after it has written everything out.
    func quit() async throws {
        try? await monitor.execute("quit")
        await waitUntilEnded()
        await kill()
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
        guard let jail else { return }
        let files = files
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { _ in
                jail.clear(files.directory, user: files.owner)
                continuation.resume()
            }
        }
    }
}
