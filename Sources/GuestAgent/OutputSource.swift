import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// One pipe (or terminal) a process writes to.
final class OutputSource {
    /// Most a pipe holds: after its process ended, no more than this of what is read can be its own.
    private static let largestPipe = 1 << 20
    private static let readsPerEvent = 4
    private static let lastReads = 64

    /// Nil once the end was seen; a terminal may still be in use for input then, so it is let go, not closed.
    private var descriptor: Descriptor?
    private let channel: OutputChannel
    private unowned let process: GuestProcess
    private var watch: Watch?
    /// Whether it waits for a stream to take output.
    private(set) var isHeld = false
    /// Whether the last read found nothing.
    private var isEmpty = false
    private var lastReadBytes: Int?
    private var isGraceOver = false

    init(descriptor: Descriptor, channel: OutputChannel, process: GuestProcess) {
        self.descriptor = descriptor
        self.channel = channel
        self.process = process
    }

    /// Whether nothing the ended process itself wrote is left to be read.
    var isDrained: Bool {
        if descriptor == nil { return true }
        return isGraceOver && (isEmpty || (lastReadBytes ?? 0) > OutputSource.largestPipe)
    }

    /// Waits for output from now on.
    func resume() throws(SystemError) {
        guard let descriptor, watch == nil else { return }
        watch = try process.loop.watch(descriptor.number, UInt32(CLINUX_EVENT_READ)) { [unowned self] _ in
            // With its last output a process may be forgotten, and this source with it.
            let process = self.process
            readAvailable()
            if process.hasEnded { process.settleIfDrained() }
        }
        isHeld = false
    }

    func startLastRead() { lastReadBytes = 0 }

    func graceIsOver() {
        isGraceOver = true
        readAvailable()
    }

    /// Reads what there is, up to a few buffers, or holds the process back.
    func readAvailable() {
        let scratch = process.loop.scratch
        // After the end there may be no further event to come back for.
        let reads = process.hasEnded ? OutputSource.lastReads : OutputSource.readsPerEvent
        for _ in 0..<reads {
            guard let descriptor else { return }
            let room = process.room ?? .max
            guard room > 0 else { return hold() }
            let count = clinux_read(descriptor.number, scratch.baseAddress, min(room, scratch.count))
            if count > 0 {
                isEmpty = false
                if let read = lastReadBytes { lastReadBytes = read + count }
                process.took(UnsafeRawBufferPointer(rebasing: scratch[0..<count]), channel: channel)
            } else if count == -Int(EAGAIN) {
                isEmpty = true
                return
            } else {
                // The end; a terminal whose last user left says EIO.
                close()
                process.sourceClosed()
                return
            }
        }
    }

    private func hold() {
        isHeld = true
        // Not merely without events: a hangup would be reported over and over.
        watch?.stop()
        watch = nil
    }

    func close() {
        isHeld = false
        watch?.stop()
        watch = nil
        descriptor = nil
    }
}
