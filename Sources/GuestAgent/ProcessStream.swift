import GuestProtocol

/// A stream that follows a process: it started it, or attached to it later.
final class ProcessStream: AgentStream {
    let process: GuestProcess
    let mode: AttachMode
    /// The next byte of output it sends.
    private(set) var offset: UInt64
    /// Where its output ends; nil while the process runs.
    private var target: UInt64?
    private let takesInput: Bool

    init(
        number: UInt32, window: UInt32, transport: Transport, process: GuestProcess, mode: AttachMode,
        offset: UInt64 = 0, takesInput: Bool = false
    ) {
        self.process = process
        self.mode = mode
        self.offset = offset
        self.takesInput = takesInput
        super.init(number: number, window: window, transport: transport)
    }

    /// Begins: to be called once the transport knows the stream.
    func start() {
        reply(ProcessStarted(pid: process.pid).encoded)
        process.attach(self)
        if takesInput { process.input?.admit(self) }
        if process.settledOffset != nil || (mode == .exitOnly && process.hasEnded) { processEnded() }
        transport.markReady(self)
    }

    func outputArrived() { transport.markReady(self) }

    /// The process has ended and all its output is in the buffer.
    func processEnded() {
        target = process.output.endOffset
        endIfDone()
    }

    private func endIfDone() {
        guard let target, mode == .exitOnly || offset >= target, let exit = process.exit else { return }
        finish(exit.encoded)
    }

    override var hasOutput: Bool {
        mode != .exitOnly && credit > OutputData.prefixLength && offset < min(target ?? .max, process.output.endOffset)
    }

    override func produce(into output: inout [UInt8]) {
        let buffer = process.output
        offset = max(offset, buffer.firstOffset)
        let limit = min(credit, Frame.dataChunk) - OutputData.prefixLength
        if let run = buffer.run(at: offset, limit: limit) {
            Frame.encode(stream: number, kind: .data, flags: run.channel.rawValue, into: &output) { bytes in
                for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: offset >> (8 * UInt64(shift)))) }
                buffer.copyBytes(from: offset, count: run.count, into: &bytes)
            }
            spendCredit(OutputData.prefixLength + run.count)
            offset += UInt64(run.count)
            if mode == .lossless { process.roomChanged() }
        }
        endIfDone()
    }

    override func receive(_ bytes: [UInt8]) { process.input?.write(bytes, from: self) }

    override func inputEnded() {
        if takesInput { process.input?.end(closes: true, telling: nil) }
    }

    override func closed() { process.detach(self) }
}

/// A stream whose data goes to the input of a process some other stream started.
final class InputStream: AgentStream {
    private let input: ProcessInput
    private let closes: Bool

    init(number: UInt32, transport: Transport, input: ProcessInput, closes: Bool) {
        self.input = input
        self.closes = closes
        super.init(number: number, window: 0, transport: transport)
    }

    override func receive(_ bytes: [UInt8]) { input.write(bytes, from: self) }
    override func inputEnded() { input.end(closes: closes, telling: self) }
    override func closed() { input.dismiss(self) }
}
