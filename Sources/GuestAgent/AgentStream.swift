import GuestProtocol

/// One open stream: an operation that goes on after its open frame. Subclasses say what it does.
class AgentStream {
    /// Bytes a host may send before it is given more.
    static let inputWindow = 262_144
    private static let creditStep = 65_536

    let number: UInt32
    unowned let transport: Transport
    /// Bytes of data the host still takes.
    private(set) var credit: Int
    /// Whether it waits in the transport's round of streams with output.
    var isQueued = false
    private(set) var isOpen = true
    /// Bytes the host was told it may send and has not sent.
    private(set) var inputWindow = 0
    private var consumedBytes = 0

    init(number: UInt32, window: UInt32, transport: Transport) {
        self.number = number
        self.transport = transport
        credit = Int(window)
    }

    // MARK: What a subclass does

    /// Takes data from the host; `consumed` must be called for it sooner or later.
    func receive(_ bytes: [UInt8]) {}
    /// The host sends no more.
    func inputEnded() {}
    /// The stream is over, whichever way: lets go of what it holds. Nothing may be sent.
    func closed() {}
    /// Whether `produce` would send something with the credit there is.
    var hasOutput: Bool { false }
    /// Appends at most one data frame to `output`, spending credit, or ends the stream.
    func produce(into output: inout [UInt8]) {}

    // MARK: What it may use

    /// Tells the host it may send this many bytes more.
    func grant(_ bytes: Int) {
        inputWindow += bytes
        transport.enqueue(.credit(stream: number, bytes: UInt32(bytes)))
    }

    /// Bytes taken off the stream's hands; the host is told in steps.
    func consumed(_ bytes: Int) {
        guard isOpen else { return }
        consumedBytes += bytes
        guard consumedBytes >= AgentStream.creditStep else { return }
        grant(consumedBytes)
        consumedBytes = 0
    }

    /// Notes that the host sent bytes; false if they were more than it was allowed.
    func spendInput(_ bytes: Int) -> Bool {
        inputWindow -= bytes
        return inputWindow >= 0
    }

    func addCredit(_ bytes: Int) { credit = min(credit + bytes, 1 << 40) }
    func spendCredit(_ bytes: Int) { credit -= bytes }

    func reply(_ payload: [UInt8]) { transport.enqueue(Frame(stream: number, kind: .reply, payload: payload)) }

    /// Ends the stream with its result.
    func finish(_ payload: [UInt8] = []) {
        guard isOpen else { return }
        transport.enqueue(Frame(stream: number, kind: .end, payload: payload))
        transport.close(self)
    }

    /// Ends the stream with a failure.
    func fail(_ failure: GuestFailure) {
        guard isOpen else { return }
        transport.enqueueFailure(stream: number, failure)
        transport.close(self)
    }

    /// For the transport alone: marks the stream as over.
    func markClosed() {
        guard isOpen else { return }
        isOpen = false
        closed()
    }
}
