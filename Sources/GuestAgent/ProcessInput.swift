import CLinux
import Glibc
import LinuxSystem

/// A process's standard input: what the host sent and the program has not yet read.
///
/// Bounded by what it lets streams send: `committed` counts both what is held and what may still come.
final class ProcessInput {
    private static let committedLimit = 2 * AgentStream.inputWindow

    private enum Item {
        case bytes([UInt8], from: AgentStream)
        /// Everything before was taken: the stream's part is done.
        case done(AgentStream)
        case close
    }

    /// Nil once the input is closed.
    private var descriptor: Descriptor?
    private let isTerminal: Bool
    private let loop: EventLoop
    private var watch: Watch?
    private var items: [Item] = []
    private var offset = 0
    private var committed = 0
    private var waiting: [AgentStream] = []
    /// Whether the program, or the host, has closed it: further bytes go nowhere.
    var isClosed: Bool { descriptor == nil }

    init(descriptor: Descriptor, isTerminal: Bool, loop: EventLoop) {
        self.descriptor = descriptor
        self.isTerminal = isTerminal
        self.loop = loop
    }

    /// Lets a stream send, now or when others are done.
    func admit(_ stream: AgentStream) {
        guard committed + AgentStream.inputWindow <= ProcessInput.committedLimit else { return waiting.append(stream) }
        committed += AgentStream.inputWindow
        stream.grant(AgentStream.inputWindow)
    }

    /// A stream that was admitted is over; what it may no longer send is free for others.
    func dismiss(_ stream: AgentStream) {
        waiting.removeAll { $0 === stream }
        committed -= max(0, stream.inputWindow)
        admitWaiting()
    }

    func write(_ bytes: [UInt8], from stream: AgentStream) {
        guard !bytes.isEmpty else { return }
        items.append(.bytes(bytes, from: stream))
        drain()
    }

    /// Ends a stream's part: the input is closed once all is written, if `closes`, and then the stream is told.
    func end(closes: Bool, telling stream: AgentStream?) {
        if closes { items.append(.close) }
        if let stream { items.append(.done(stream)) }
        drain()
    }

    /// Lets everything go: the process has ended.
    func shutDown() {
        close()
        drain()
    }

    private func admitWaiting() {
        while let stream = waiting.first, committed + AgentStream.inputWindow <= ProcessInput.committedLimit {
            waiting.removeFirst()
            if stream.isOpen { admit(stream) }
        }
    }

    private func drain() {
        while let item = items.first {
            switch item {
            case .bytes(let bytes, let stream):
                guard write(bytes) else { return }
                taken(bytes.count, from: stream)
            case .done(let stream): stream.finish()
            case .close:
                if isTerminal {
                    // Ctrl-D on an empty line is how a terminal's input ends.
                    guard write([4]) else { return }
                } else {
                    close()
                }
            }
            items.removeFirst()
            offset = 0
        }
        stopWaiting()
    }

    /// Writes the rest of the first item; false when the pipe takes no more for now.
    private func write(_ bytes: [UInt8]) -> Bool {
        while offset < bytes.count, let descriptor {
            let count = bytes.withUnsafeBytes { buffer in
                clinux_write(descriptor.number, buffer.baseAddress! + offset, buffer.count - offset)
            }
            if count > 0 {
                offset += count
            } else if count == -Int(EAGAIN) {
                waitForRoom()
                return false
            } else {
                // The program closed its input: what it will not read is dropped in silence, as a shell's pipe does.
                close()
            }
        }
        return true
    }

    private func taken(_ count: Int, from stream: AgentStream) {
        let before = stream.inputWindow
        stream.consumed(count)
        // What the stream was granted anew stays committed.
        committed -= count
        committed += max(0, stream.inputWindow - before)
        admitWaiting()
    }

    private func waitForRoom() {
        guard watch == nil, let descriptor else { return }
        watch = try? loop.watch(descriptor.number, UInt32(CLINUX_EVENT_WRITE)) { [unowned self] _ in drain() }
    }

    private func stopWaiting() {
        watch?.stop()
        watch = nil
    }

    private func close() {
        stopWaiting()
        descriptor = nil
    }
}
