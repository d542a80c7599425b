import Glibc
import LinuxSystem
import Logging
import NIOPosix

/// Ends the largest program of a sandbox that has so little memory left that its programs do nothing but read their own
/// files again. The kernel ends a program only when it finds nothing to drop, which can then take minutes.
struct MemoryGuard: Sendable {
    let group: ControlGroup
    let logger: Logger

    /// Guards until the task is cancelled or the group is gone.
    func run() async {
        let pressure: Descriptor
        do {
            pressure = try await onThread { try group.openMemoryPressure() }
        } catch {
            logger.info("a sandbox short of memory may stand still for a while: \(error)")
            return
        }
        while !Task.isCancelled {
            await ReadinessWatcher.shared.waitUntilReadableOrCancelled(pressure)
            // What happened while we look is no news.
            _ = try? pressure.read(upTo: 4096)
            guard let before = try? await onThread({ group.memoryPressure() }) else { return }
            do {
                try await Task.sleep(for: .milliseconds(MemoryPressure.intervalMilliseconds))
                try await onThread { relieve(since: before) }
            } catch {
                return
            }
        }
    }

    private func onThread<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        try await NIOThreadPool.singleton.runIfActive(work)
    }

    private func relieve(since before: MemoryPressure) {
        guard group.memoryPressure()?.isThrashing(since: before) == true,
            let largest = MemoryPressure.largest(of: group.programs()),
            let program = try? ProcessHandle.open(pid: largest)
        else { return }
        // The same number may be another process by now.
        guard group.processes().contains(largest) else { return }
        program.signal(SIGKILL)
        logger.info("sandbox out of memory: its largest program was ended", metadata: ["group": "\(group.name)"])
    }
}
