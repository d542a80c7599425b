import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// What the transport found in the byte stream.
protocol TransportDelegate: AnyObject {
    func opened(_ frame: Frame)
}

/// The byte stream to the host: decodes what comes in, routes it to streams, and pulls what goes out.
///
/// Output is never queued ahead: data is asked of the streams in turn only when the last batch has been written, so
/// that one stream's gigabyte neither fills memory nor delays another stream's byte. Only control frames, which are
/// small, wait here; while too many wait, nothing more is read.
final class Transport {
    /// Bytes put together for one write: what a virtio port takes at once.
    private static let batchBytes = 32_768
    private static let controlLimit = 262_144
    private static let readsPerTurn = 16

    /// nil while no host has come.
    private var descriptor: Descriptor?
    /// The same, but for a pair of pipes.
    private var output: Descriptor?
    private let endsAtHangup: Bool
    private var decoder = FrameDecoder(hunting: true)
    private let loop: EventLoop
    private var scratch: UnsafeMutableRawBufferPointer { loop.scratch }
    private var watches: [Watch] = []
    private var mayRead = false
    private var mayWrite = false

    private var streams: [UInt32: AgentStream] = [:]
    private var round: [AgentStream] = []
    private var roundStart = 0
    private var control: [UInt8] = []
    private var outgoing: [UInt8] = []
    private var outgoingStart = 0

    weak var delegate: (any TransportDelegate)?
    /// True once the stream has ended for good.
    private(set) var hasEnded = false

    init(descriptor: Int32?, output: Int32?, endsAtHangup: Bool, loop: EventLoop) throws(SystemError) {
        self.endsAtHangup = endsAtHangup
        self.loop = loop
        if let descriptor { try take(descriptor, output: output) }
    }

    /// Goes on with another byte stream, from its beginning: what was under way on the one before ends without a word.
    func take(_ number: Int32, output pipe: Int32? = nil) throws(SystemError) {
        let fresh = Descriptor(owning: number)
        let freshOutput = pipe.map { Descriptor(owning: $0) } ?? fresh
        try fresh.setNonBlocking()
        try freshOutput.setNonBlocking()
        for watch in watches { watch.stop() }
        watches = []
        dropStreams()
        control = []
        outgoing = []
        outgoingStart = 0
        decoder = FrameDecoder(hunting: true)
        descriptor = fresh
        output = freshOutput
        mayRead = true
        mayWrite = true
        // Edge-triggered: a virtio port without a host reports a hangup for as long as there is none, and is
        // reported once more when a host comes.
        let (reads, writes) = (UInt32(CLINUX_EVENT_READ), UInt32(CLINUX_EVENT_WRITE))
        guard let pipe else {
            watches = [
                try loop.watch(number, reads | writes | CLINUX_EVENT_EDGE) { [unowned self] _ in
                    mayRead = true
                    mayWrite = true
                }
            ]
            return
        }
        watches = [
            try loop.watch(number, reads | CLINUX_EVENT_EDGE) { [unowned self] _ in mayRead = true },
            try loop.watch(pipe, writes | CLINUX_EVENT_EDGE) { [unowned self] _ in mayWrite = true },
        ]
    }

    var streamCount: Int { streams.count }
    /// How many streams of one kind are open.
    func count<Kind: AgentStream>(of kind: Kind.Type) -> Int { streams.values.count { $0 is Kind } }
    /// Whether another turn has something to do without waiting for an event.
    var isBusy: Bool { !hasEnded && ((mayRead && canTakeInput) || (mayWrite && hasOutput)) }
    /// Whether everything queued has been written.
    var isFlushed: Bool { !hasOutput }

    private var canTakeInput: Bool { control.count < Transport.controlLimit }
    private var hasOutput: Bool { descriptor != nil && hasWaiting }
    private var hasWaiting: Bool { outgoingStart < outgoing.count || !control.isEmpty || roundStart < round.count }

    // MARK: Streams

    func add(_ stream: AgentStream) { streams[stream.number] = stream }

    /// Takes a stream out; called by the stream itself once its last frame is queued.
    func close(_ stream: AgentStream) {
        if streams[stream.number] === stream { streams[stream.number] = nil }
        stream.markClosed()
    }

    /// Puts a stream into the round if it has something to send.
    func markReady(_ stream: AgentStream) {
        guard stream.isOpen, !stream.isQueued, stream.hasOutput else { return }
        stream.isQueued = true
        round.append(stream)
    }

    func enqueue(_ frame: Frame) { frame.encode(into: &control) }

    func enqueueFailure(stream: UInt32, _ failure: GuestFailure) {
        var failure = failure
        if failure.message.utf8.count > 4096 { failure.message = String(failure.message.prefix(1024)) }
        enqueue(Frame(stream: stream, kind: .fail, payload: failure.encoded))
    }

    // MARK: Reading

    func readAvailable() {
        var reads = 0
        while let descriptor, mayRead, canTakeInput, reads < Transport.readsPerTurn, !hasEnded {
            reads += 1
            let count = clinux_read(descriptor.number, scratch.baseAddress, scratch.count)
            if count > 0 {
                decoder.append(UnsafeRawBufferPointer(rebasing: scratch[0..<count]))
                takeItems()
            } else {
                mayRead = false
                if count == 0 || (count != -Int(EAGAIN) && endsAtHangup) { hangup() }
            }
        }
    }

    private func takeItems() {
        while let item = decoder.next() {
            switch item {
            case .frame(let frame): route(frame)
            case .sync(let nonce): startAfresh(nonce)
            case .lost: break
            }
        }
    }

    private func hangup() {
        if endsAtHangup { hasEnded = true }
    }

    private func startAfresh(_ nonce: [UInt8]) {
        dropStreams()
        control = SyncMarker.bytes(nonce: nonce)
        outgoing.removeAll(keepingCapacity: true)
        outgoingStart = 0
    }

    /// Ends every stream without a word.
    func dropStreams() {
        let dropped = streams.values
        streams = [:]
        round = []
        roundStart = 0
        for stream in dropped { stream.markClosed() }
    }

    private func route(_ frame: Frame) {
        if frame.kind == .open {
            if let stream = streams[frame.stream] {
                stream.fail(GuestFailure(.invalidArgument, "stream \(frame.stream) is already open"))
            } else {
                delegate?.opened(frame)
            }
            return
        }
        // What comes for a stream that has just ended crossed with its end; it means nothing any more.
        guard let stream = streams[frame.stream] else { return }
        switch frame.kind {
        case .data:
            if stream.spendInput(frame.payload.count) {
                stream.receive(frame.payload)
            } else {
                stream.fail(GuestFailure(.invalidArgument, "more data was sent than there was credit for"))
            }
        case .credit:
            var reader = WireReader(frame.payload)
            guard let bytes = try? reader.u32() else {
                return stream.fail(GuestFailure(.invalidArgument, "a credit frame holds no number"))
            }
            stream.addCredit(Int(bytes))
            markReady(stream)
        case .end: stream.inputEnded()
        case .cancel: close(stream)
        case .open, .reply, .fail:
            stream.fail(GuestFailure(.invalidArgument, "a \(frame.kind) frame came from the host"))
        }
    }

    // MARK: Writing

    /// Writes what there is until the descriptor takes no more.
    func writeAvailable() {
        while let output, mayWrite, !hasEnded {
            if outgoingStart == outgoing.count { fillBatch() }
            guard outgoingStart < outgoing.count else { return }
            let count = outgoing.withUnsafeBytes { bytes in
                clinux_write(output.number, bytes.baseAddress! + outgoingStart, bytes.count - outgoingStart)
            }
            if count >= 0 {
                outgoingStart += count
            } else {
                mayWrite = false
                if count != -Int(EAGAIN) { hangup() }
            }
        }
    }

    private func fillBatch() {
        outgoing.removeAll(keepingCapacity: true)
        outgoingStart = 0
        while outgoing.count < Transport.batchBytes {
            if !control.isEmpty {
                outgoing.append(contentsOf: control)
                control.removeAll(keepingCapacity: control.capacity <= Transport.batchBytes)
            } else if roundStart < round.count {
                let stream = round[roundStart]
                roundStart += 1
                if roundStart == round.count {
                    round.removeAll(keepingCapacity: true)
                    roundStart = 0
                } else if roundStart > 256 {
                    round.removeSubrange(0..<roundStart)
                    roundStart = 0
                }
                stream.isQueued = false
                guard stream.isOpen, stream.hasOutput else { continue }
                stream.produce(into: &outgoing)
                markReady(stream)
            } else {
                return
            }
        }
    }
}
