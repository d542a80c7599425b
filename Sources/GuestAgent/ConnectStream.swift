import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Carries bytes between the host and a service of this machine; neither side is read faster than the other takes.
final class ConnectStream: AgentStream {
    /// Bytes the host may be ahead of the service: with `AgentConfiguration.maxConnections`, 32 MiB in all.
    private static let window = 131_072
    private static let timeoutMilliseconds: UInt64 = 10_000

    private let port: UInt16
    private let loop: EventLoop
    /// Where it has not been looked for yet.
    private var addresses: ArraySlice<clinux_address>
    private var socket: Descriptor?
    private var watch: Watch?
    private var timer: LoopTimer?
    private var isConnected = false
    private var mayRead = false
    private var mayWrite = false
    /// What the host sent and the service has not taken, from `offset` in the first piece on.
    private var pending: [[UInt8]] = []
    private var offset = 0
    private var hostHasEnded = false
    private var serviceHasEnded = false
    /// Whether nothing more goes to the service: all was sent, or it does not want it.
    private var isSendingOver = false

    init(number: UInt32, window: UInt32, transport: Transport, loop: EventLoop, request: Connect) throws(GuestFailure) {
        guard request.port != 0 else { throw GuestFailure(.invalidArgument, "connect: there is no port 0") }
        port = request.port
        self.loop = loop
        addresses = ServiceAddresses.all()[...]
        super.init(number: number, window: window, transport: transport)
    }

    /// Begins to connect.
    func start() {
        timer = loop.after(milliseconds: ConnectStream.timeoutMilliseconds) { [unowned self] in
            fail(GuestFailure(.timedOut, errno: ETIMEDOUT, "connect: port \(port): the service takes no connection"))
        }
        tryNext()
    }

    // MARK: Connecting

    private func tryNext() {
        while var address = addresses.popFirst() {
            let number = clinux_tcp_connect(&address, port)
            // Refused at once, or an address of a kind this machine does not have.
            guard number >= 0 else {
                if -number == EMFILE || -number == ENFILE || -number == ENOMEM { return refuse(-number, .limitReached) }
                continue
            }
            let descriptor = Descriptor(owning: number)
            socket = descriptor
            do throws(SystemError) {
                let events = UInt32(CLINUX_EVENT_READ) | UInt32(CLINUX_EVENT_WRITE) | CLINUX_EVENT_EDGE
                watch = try loop.watch(number, events) { [unowned self] events in happened(events) }
            } catch {
                return fail(GuestFailure(error))
            }
            return
        }
        refuse(ECONNREFUSED, .connectionRefused)
    }

    private func refuse(_ errno: Int32, _ code: GuestFailure.Code) {
        let why = code == .connectionRefused ? "nothing listens" : GuestFailure.text(errno)
        fail(GuestFailure(code, errno: errno, "connect: port \(port): \(why)"))
    }

    private func happened(_ events: UInt32) {
        // A failure or hangup wakes both: the next read or write says what it is.
        let isOver = events & UInt32(CLINUX_EVENT_ERROR | CLINUX_EVENT_HANGUP) != 0
        if isConnected {
            if isOver || events & UInt32(CLINUX_EVENT_READ) != 0 { mayRead = true }
            if isOver || events & UInt32(CLINUX_EVENT_WRITE) != 0 { mayWrite = true }
            return advance()
        }
        guard let socket, isOver || events & UInt32(CLINUX_EVENT_WRITE) != 0 else { return }
        if clinux_socket_error(socket.number) == 0, !isOver {
            opened()
        } else {
            letGo()
            tryNext()
        }
    }

    private func opened() {
        isConnected = true
        mayRead = true
        mayWrite = true
        timer?.cancel()
        reply(ConnectionEvent(.opened).encoded)
        grant(ConnectStream.window)
        transport.markReady(self)
    }

    private func letGo() {
        watch?.stop()
        watch = nil
        socket = nil
    }

    // MARK: From the host to the service

    override func receive(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        guard !isSendingOver else { return consumed(bytes.count) }
        pending.append(bytes)
        drain()
    }

    override func inputEnded() {
        hostHasEnded = true
        advance()
    }

    private func advance() {
        drain()
        transport.markReady(self)
        finishIfOver()
    }

    private func drain() {
        guard let socket, isConnected else { return }
        while mayWrite, !isSendingOver, let bytes = pending.first {
            let count = bytes.withUnsafeBytes { buffer in
                clinux_write(socket.number, buffer.baseAddress! + offset, buffer.count - offset)
            }
            if count >= 0 {
                offset += count
                if offset == bytes.count {
                    pending.removeFirst()
                    offset = 0
                }
                consumed(count)
            } else if count == -Int(EAGAIN) {
                mayWrite = false
            } else {
                dropInput()
            }
        }
        if hostHasEnded, pending.isEmpty, !isSendingOver {
            isSendingOver = true
            _ = clinux_finish_sending(socket.number)
        }
    }

    /// The service reads no more; what it has sent is still to be read, and says how it ended.
    private func dropInput() {
        isSendingOver = true
        let dropped = pending.reduce(0) { $0 + $1.count } - offset
        pending = []
        offset = 0
        mayRead = true
        consumed(dropped)
        transport.markReady(self)
        finishIfOver()
    }

    // MARK: From the service to the host

    override var hasOutput: Bool { isConnected && mayRead && !serviceHasEnded && credit > 0 }

    override func produce(into output: inout [UInt8]) {
        guard let socket else { return }
        let scratch = loop.scratch
        let count = clinux_read(socket.number, scratch.baseAddress, min(credit, Frame.dataChunk))
        if count > 0 {
            let bytes = UnsafeRawBufferPointer(rebasing: scratch[0..<count])
            Frame.encode(stream: number, kind: .data, flags: 0, into: &output) { $0.append(contentsOf: bytes) }
            spendCredit(count)
        } else if count == -Int(EAGAIN) {
            mayRead = false
        } else if count == 0 {
            serviceHasEnded = true
            reply(ConnectionEvent(.finished).encoded)
            finishIfOver()
        } else {
            let why = GuestFailure.text(Int32(-count))
            fail(GuestFailure(.connectionReset, errno: Int32(-count), "connection to port \(port): \(why)"))
        }
    }

    private func finishIfOver() {
        guard serviceHasEnded, isSendingOver else { return }
        finish()
    }

    override func closed() {
        timer?.cancel()
        // Broken off by the host: the service must not take what came so far for the whole.
        if let socket, !(serviceHasEnded && isSendingOver) { _ = clinux_reset_at_close(socket.number) }
        letGo()
    }
}
