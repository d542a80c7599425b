import ControlPlane
import NIOCore
import NIOHTTP1
import SandboxModel

/// Stands between a connection's decoder and the API: takes requests for previews and tunnels out, one at a time and in
/// their order among the others, and leaves everything else as it is.
///
/// It also keeps the connection's time: the API's own handler does not see what is taken out here.
final class PreviewHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase {
        /// Between requests.
        case idle
        /// The API has the request.
        case api
        case exchange
        /// The exchange has the connection for good.
        case raw
        /// All is answered; what the client still sends is thrown away until it has read that.
        case lingering
    }

    private static let lingerTime = TimeAmount.seconds(2)

    private let routing: PreviewRouting
    private let exchanges: BoundedChannel<PreviewExchange>
    private let idleTimeout: TimeAmount
    private var context: ChannelHandlerContext?
    private var phase = Phase.idle
    private var exchange: PreviewExchange?
    private var requestIsOver = true
    private var answerIsOver = true
    /// The decoder takes nothing more after a request that asked for another protocol.
    private var isLastRequest = false
    /// The daemon ends, or the client's input is broken.
    private var isLastAnswer = false
    private var inputIsFull = false
    private var readIsHeld = false
    /// What came while an earlier request was being answered; no more is read then.
    private var waiting = CircularBuffer<HTTPServerRequestPart>()
    private var lastInput = NIODeadline.now()
    private var timer: Scheduled<Void>?

    init(routing: PreviewRouting, exchanges: BoundedChannel<PreviewExchange>, idleTimeout: TimeAmount) {
        self.routing = routing
        self.exchanges = exchanges
        self.idleTimeout = idleTimeout
    }

    // MARK: The connection

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        keepTime(for: idleTimeout)
    }

    func handlerRemoved(context: ChannelHandlerContext) { leave() }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    private func leave() {
        timer?.cancel()
        timer = nil
        context = nil
        waiting.removeAll()
        exchange?.source.finish(ClientLeft())
        exchange?.hasLeft.open()
        exchange = nil
    }

    private func keepTime(for time: TimeAmount) {
        guard let context else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: time) { bound.value.timeIsUp() }
    }

    private func timeIsUp() {
        guard let context else { return }
        let isClientsTurn = phase != .raw && (phase != .exchange && phase != .api || !requestIsOver)
        let quiet = NIODeadline.now() - lastInput
        if isClientsTurn, quiet >= idleTimeout { return context.close(promise: nil) }
        keepTime(for: isClientsTurn ? idleTimeout - quiet : idleTimeout)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent where phase == .exchange || phase == .raw:
            isLastAnswer = true
        case let event as ChannelEvent where event == .inputClosed && (phase == .exchange || phase == .lingering):
            // Over TCP, a client that sends no more cannot be told from one that left.
            context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch phase {
        case .idle, .api: context.fireErrorCaught(error)
        case .exchange where error is HTTPParserError && requestIsOver: isLastAnswer = true
        case .exchange, .raw, .lingering: context.close(promise: nil)
        }
    }

    // MARK: Input

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastInput = .now()
        let part = unwrapInboundIn(data)
        guard phase != .lingering else { return }
        if waiting.isEmpty, phase == .idle || !part.isHead { return take(part) }
        waiting.append(part)
    }

    func read(context: ChannelHandlerContext) {
        guard waiting.isEmpty, !inputIsFull else {
            readIsHeld = true
            return
        }
        context.read()
    }

    private func readOn() {
        guard readIsHeld, waiting.isEmpty, !inputIsFull else { return }
        readIsHeld = false
        context?.read()
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head): begin(head)
        case .body(let bytes):
            if phase == .api { context?.fireChannelRead(wrapInboundOut(part)) } else { give(bytes) }
        case .end:
            requestIsOver = true
            if phase == .api {
                context?.fireChannelRead(wrapInboundOut(part))
                goOnIfAnswered()
            } else if let exchange, !exchange.asksForUpgrade {
                exchange.source.finish()
            }
        }
    }

    private func begin(_ head: HTTPRequestHead) {
        guard let context else { return }
        requestIsOver = false
        answerIsOver = false
        isLastRequest = head.headers.contains(name: "upgrade") || head.method == .CONNECT
        let decision = routing.decision(on: head)
        if case .api = decision {
            phase = .api
            context.fireChannelRead(wrapInboundOut(.head(head)))
            return
        }
        phase = .exchange
        let exchange = PreviewExchange(
            head: head, decision: decision, client: context.channel.remoteAddress, handler: self,
            eventLoop: context.eventLoop)
        self.exchange = exchange
        // Room is never short: there is one exchange at a time. A channel that takes none any more is being closed.
        if !exchanges.offer(exchange) { context.close(promise: nil) }
    }

    private func give(_ bytes: ByteBuffer) {
        if case .stopProducing = exchange?.source.yield(bytes) { inputIsFull = true }
    }

    /// The task takes input again, or none any more.
    func inputIsWanted() {
        inputIsFull = false
        readOn()
    }

    /// Works off what waited, up to the next request that has to wait for another.
    private func takeWaiting() {
        var hasTaken = false
        while let part = waiting.first, phase == .idle || !part.isHead {
            waiting.removeFirst()
            take(part)
            hasTaken = true
        }
        if hasTaken { context?.fireChannelReadComplete() }
        readOn()
    }

    // MARK: The API's answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where isLastRequest && phase == .api:
            head.headers.replaceOrAdd(name: "Connection", value: "close")
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end where phase == .api:
            let written = promise ?? context.eventLoop.makePromise()
            context.write(data, promise: written)
            answerIsOver = true
            guard isLastRequest else { return goOnIfAnswered() }
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            written.futureResult.whenComplete { _ in bound.value.linger() }
        default: context.write(data, promise: promise)
        }
    }

    private func goOnIfAnswered() {
        guard phase == .api, requestIsOver, answerIsOver, !isLastRequest else { return }
        phase = .idle
        lastInput = .now()
        takeWaiting()
    }

    // MARK: For the exchange

    func write(_ bytes: ByteBuffer, for exchange: PreviewExchange, promise: EventLoopPromise<Void>) {
        guard let past = encoder(for: exchange) else { return promise.fail(ClientLeft()) }
        past.writeAndFlush(NIOAny(IOData.byteBuffer(bytes)), promise: promise)
    }

    /// The place past the API's encoder: what is sent for an exchange is encoded already.
    private func encoder(for exchange: PreviewExchange) -> ChannelHandlerContext? {
        guard self.exchange === exchange, let context else { return nil }
        return try? context.pipeline.syncOperations.context(handlerType: HTTPResponseEncoder.self)
    }

    func upgrade(_ answer: ByteBuffer, for exchange: PreviewExchange, promise: EventLoopPromise<Void>) {
        guard let context, self.exchange === exchange, requestIsOver, waiting.isEmpty else {
            return promise.fail(ClientLeft())
        }
        do {
            let pipeline = context.pipeline.syncOperations
            let decoder = try pipeline.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(RawInput(owner: self), position: .before(self))
            phase = .raw
            write(answer, for: exchange, promise: promise)
            pipeline.removeHandler(context: decoder, promise: nil)
        } catch {
            promise.fail(error)
        }
    }

    /// What came from the client after an upgrade.
    func received(_ bytes: ByteBuffer) {
        lastInput = .now()
        if phase == .raw, bytes.readableBytes > 0 { give(bytes) }
    }

    /// The client sends no more after an upgrade.
    func inputEnded() {
        if phase == .raw { exchange?.source.finish() } else { context?.close(promise: nil) }
    }

    func finishOutput(for exchange: PreviewExchange, promise: EventLoopPromise<Void>) {
        guard self.exchange === exchange, let context else { return promise.fail(ClientLeft()) }
        context.close(mode: .output, promise: promise)
    }

    func complete(_ exchange: PreviewExchange, keepsAlive: Bool) {
        guard self.exchange === exchange, let context else { return }
        self.exchange = nil
        exchange.hasLeft.open()
        if phase == .raw { return context.close(promise: nil) }
        guard keepsAlive, requestIsOver, !isLastRequest, !isLastAnswer else { return linger() }
        phase = .idle
        inputIsFull = false
        lastInput = .now()
        takeWaiting()
    }

    func abort(_ exchange: PreviewExchange) {
        guard self.exchange === exchange else { return }
        context?.close(promise: nil)
    }

    /// Closes once the client has had time to read the answer: closing while it still sends would take that from it
    /// (RFC 9112, section 9.6).
    private func linger() {
        guard let context, phase != .lingering else { return }
        phase = .lingering
        waiting.removeAll()
        inputIsFull = false
        context.close(mode: .output, promise: nil)
        timer?.cancel()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: PreviewHandler.lingerTime) {
            bound.value.context?.close(promise: nil)
        }
        readOn()
    }
}

/// Takes what a client sends after an upgrade, in the decoder's place.
final class RawInput: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: PreviewHandler

    init(owner: PreviewHandler) { self.owner = owner }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { owner.received(unwrapInboundIn(data)) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { return owner.inputEnded() }
        context.fireUserInboundEventTriggered(event)
    }
}

extension HTTPServerRequestPart {
    fileprivate var isHead: Bool { if case .head = self { true } else { false } }
}
