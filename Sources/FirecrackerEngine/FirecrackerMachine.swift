import Glibc
import GuestClient
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization

/// One Firecracker: a shell at first, a machine once restored or booted.
///
/// Whenever a machine is captured or restored its guest forgets all connections by vsock, so that each of both is followed
/// by a new connection; what ran over the one before has failed by then.
final class FirecrackerMachine: Machine {
    let process: FirecrackerProcess
    let layout: MachineLayout
    let state: Mutex<State>
    private let surroundings: Surroundings

    struct State {
        var guest: GuestConnection
        /// Where requests go before there is a guest: nobody reads there.
        var nowhere: Descriptor?
        /// What it stands on.
        var image: MachineImage
        /// What its disk is a copy of; nil once it may differ.
        var disk: String?
        /// Whether the guest has been cut off, and is to be connected to again when it runs.
        var isCutOff = true
        var wasKilled = false
    }

    /// What it takes to get hold of a machine.
    struct Surroundings: Sendable {
        var group: any EventLoopGroup
        var logger: Logger
        /// How long a guest that runs may take to answer.
        var patience: Duration
        /// Called with the user of a machine that has ended.
        var released: @Sendable (UInt32) async -> Void
    }

    /// How long one attempt to reach it may take: a guest that has just been restored may lose the first.
    private static let attempt = Duration.seconds(2)

    /// - Parameter disk: what its disk is a copy of.
    init(
        process: FirecrackerProcess, image: MachineImage, disk: String?, surroundings: Surroundings
    ) async throws {
        self.process = process
        self.surroundings = surroundings
        layout = MachineLayout(shape: image.shape, hasNetworkCard: image.hasNetworkCard)
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw SystemError("socketpair", "", errno: errno) }
        let nowhere = Descriptor(owning: ends[1])
        let guest = try await GuestConnection.start(
            descriptor: ends[0], takeover: false, group: surroundings.group, logger: surroundings.logger)
        state = Mutex(State(guest: guest, nowhere: nowhere, image: image, disk: disk))
    }

    var pid: Int32 { process.pid }

    var guest: GuestConnection { state.withLock { $0.guest } }

    /// Connects to the agent, which may not listen yet, and makes sure that it answers.
    ///
    /// - Parameter timeout: nil for what a guest that was restored gets.
    func connectGuest(timeout: Duration? = nil) async throws {
        let end = ContinuousClock.now + (timeout ?? surroundings.patience)
        while true {
            do {
                let left = max(end - ContinuousClock.now, .milliseconds(100))
                let fresh = try await connectOnce(timeout: min(FirecrackerMachine.attempt, left))
                let old = state.withLock { state in
                    defer { (state.guest, state.nowhere, state.isCutOff) = (fresh, nil, false) }
                    return state.guest
                }
                old.close()
                return
            } catch let error as MartletError where [.unavailable, .timeout].contains(error.code) {
                guard !process.hasEnded, ContinuousClock.now < end else { throw error }
                // Nothing tells when a port is listened at.
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    private func connectOnce(timeout: Duration) async throws -> GuestConnection {
        let socket = try await process.connect(
            socket: MachineLayout.File.guestSocket, port: MachineLayout.port, timeout: timeout)
        let guest = try await GuestConnection.start(
            descriptor: socket.release(), takeover: false, group: surroundings.group, logger: surroundings.logger)
        do {
            _ = try await guest.ping(timeout: timeout)
            return guest
        } catch {
            guest.close()
            throw error
        }
    }

    // MARK: Life

    func restore(_ image: MachineImage) async throws {
        let base = state.withLock { $0.image }
        guard base.digest == image.digest, base.diskBytes == image.diskBytes else {
            throw MartletError(.internal, "restore: the shell has another base than the image")
        }
        try await NIOThreadPool.singleton.runIfActive { try self.place(image) }
        try await layout.load(process.api, tap: process.tap)
        state.withLock { $0.disk = nil }
        try await connectGuest()
    }

    /// Puts what the image has of its own where the process will look for it. Blocks the thread.
    private func place(_ image: MachineImage) throws {
        let (root, base, disk) = state.withLock { (process.root, $0.image, $0.disk) }
        try root.lend(image.deviceState, as: MachineLayout.File.state)
        if let layer = image.layers.last, layer != disk {
            try root.remove(MachineLayout.File.disk)
            try root.give(layer, as: MachineLayout.File.disk, size: image.diskBytes)
        }
        guard let pages = image.pages else { return }
        // A memory of its own: what was written since, over what is shared.
        try root.remove(MachineLayout.File.memory)
        let memory = try root.lendCopy(base.memory, as: MachineLayout.File.memory)
        try PageFile.apply(pages, toImage: memory)
    }

    func mergeLayers() async throws {}

    func growDisk(toMiB size: Int) async throws {
        let (process, bytes) = (process, UInt64(size) << 20)
        let largest = max(bytes, UInt64(layout.shape.memoryMiB) << 20)
        try await NIOThreadPool.singleton.runIfActive {
            try process.allowFiles(of: largest)
            let file = try process.root.open(MachineLayout.File.disk, O_RDWR)
            try JailRoot.extend(file, to: bytes, named: MachineLayout.File.disk)
        }
        try await process.api.update(drive: MachineLayout.drive, path: "/\(MachineLayout.File.disk)")
        state.withLock { $0.image.diskBytes = bytes }
    }

    func pause() async throws { try await process.api.pause() }

    func resume() async throws {
        try await process.api.resume()
        if state.withLock({ $0.isCutOff }) { try await connectGuest() }
    }

    func consoleLog() async throws -> [UInt8] { process.console.read() }

    func memory() async throws -> (private: UInt64, proportional: UInt64) { try await process.memory() }

    func waitUntilEnded() async { await process.waitUntilEnded() }

    func kill() async {
        guest.close()
        await process.kill()
        let isFirst = state.withLock { state in
            defer { state.wasKilled = true }
            return !state.wasKilled
        }
        if isFirst { await surroundings.released(process.user) }
    }
}
