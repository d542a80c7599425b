import NIOCore
import NIOHTTP1
import SandboxModel

/// HTTP/1.1 between the guest and one server: every request is taken apart, checked and written again.
///
/// One exchange at a time: what a client sends ahead waits. Nothing is read that could not be passed on.
final class HTTPRelay {
    /// What requests are held against.
    enum Kind: Equatable {
        /// Plain HTTP: each Host must be allowed, and be a name of the address.
        case plain
        /// TLS ended here: each Host must be the name of the handshake, and secrets are put in.
        case secret(String)
    }

    /// A request and its answer under way.
    struct Exchange {
        var method: HTTPMethod
        var version: HTTPVersion
        var isWebSocket: Bool
        /// Whether the connection ends with the answer.
        var isLast: Bool
        var isRequestDone = false
        var hasAnswer = false
        var isAnswerDone = false
        var hasNoBody = false
        var isSwitching = false
    }

    enum State {
        case idle
        /// A checked request waits for the way to its server.
        case opening(HTTPRequestHead, Exchange)
        case exchange(Exchange)
        /// No longer HTTP, or no longer open.
        case over
    }

    let flow: ProxyFlow
    let kind: Kind
    var state = State.idle
    var queue: CircularBuffer<HTTPServerRequestPart> = []
    private var queued = 0
    private var queueHeld: HeldBytes
    var answersHeld: HeldBytes
    private var requestsHeld: HeldBytes
    var guest: HTTPGuestHandler?
    var upstream: HTTPUpstreamHandler?
    var upstreamChannel: (any Channel)?
    /// What waits for the server's handshake, in secret mode.
    var handshake: EventLoopPromise<Void>?
    var hasGuestEnded = false
    private var broken: String?
    private var isPumping = false
    var waitsForGuest = false

    init(flow: ProxyFlow, kind: Kind) {
        self.flow = flow
        self.kind = kind
        queueHeld = HeldBytes(core: flow.core)
        answersHeld = HeldBytes(core: flow.core)
        requestsHeld = HeldBytes(core: flow.core)
    }

    /// The connection is over: nothing is held any more.
    func release() {
        state = .over
        queue.removeAll()
        _ = queueHeld.set(0)
        _ = answersHeld.set(0)
        _ = requestsHeld.set(0)
        guest = nil
        upstream = nil
        upstreamChannel = nil
        handshake?.fail(ChannelError.ioOnClosedChannel)
        handshake = nil
    }

    // MARK: From the guest

    func receive(_ part: HTTPServerRequestPart) {
        flow.touch()
        if case .over = state { return }
        queue.append(part)
        if case .body(let bytes) = part {
            queued += bytes.readableBytes
            if !isPumping, !canForward, !queueHeld.set(queued) { flow.end(withReset: true) }
        }
    }

    /// Whether the next part of a request can go out.
    private var canForward: Bool {
        if case .exchange(let exchange) = state { return !exchange.isRequestDone }
        return false
    }

    /// Goes through what has come, as far as that is possible now, and sees that more comes when it is.
    func requestsReceived() {
        guard !isPumping else { return }
        isPumping = true
        while let part = queue.popFirst() {
            guard !advance(part) else { continue }
            queue.prepend(part)
            break
        }
        isPumping = false
        if queue.isEmpty { queued = 0 }
        _ = queueHeld.set(queue.isEmpty ? 0 : queued)
        upstream?.flush()
        if let upstreamChannel, !requestsHeld.measure(upstreamChannel) { return flow.end(withReset: true) }
        guard queue.isEmpty else { return }
        switch state {
        case .idle:
            if let broken { return refuse(.badRequest, .notHTTP, name: nil, why: broken) }
            if hasGuestEnded { return finish() }
            guest?.read()
        case .exchange(let exchange):
            if broken != nil, !exchange.isRequestDone { return flow.refuse(.notHTTP) }
            if hasGuestEnded, !exchange.isRequestDone { return flow.end(withReset: true) }
            if exchange.isRequestDone || upstreamChannel?.isWritable ?? false { guest?.read() }
        case .opening: break
        // While an answer of our own is on its way, what still comes is dropped.
        case .over: if hasGuestEnded { flow.end(withReset: false) } else { guest?.read() }
        }
    }

    /// Takes one part on; false when it has to wait.
    private func advance(_ part: HTTPServerRequestPart) -> Bool {
        switch (state, part) {
        case (.over, _): return true
        case (.idle, .head(let head)):
            begin(head)
            return true
        // What is left of a request that was answered without it.
        case (.idle, _): return true
        case (.opening, _): return false
        case (.exchange(let exchange), _) where exchange.isRequestDone: return false
        case (.exchange, .body(let bytes)):
            upstream?.write(.body(.byteBuffer(bytes)))
            return true
        case (.exchange(var exchange), .end):
            // Trailers are not passed on: merging them is where readers differ (RFC 9110 section 6.5.1).
            upstream?.write(.end(nil))
            exchange.isRequestDone = true
            state = .exchange(exchange)
            completeIfDone()
            return true
        case (.exchange, .head): return false
        }
    }

    func guestEnded() {
        hasGuestEnded = true
        requestsReceived()
    }

    func guestFailed(_ error: any Error) {
        switch error {
        case let error as HTTPParserError:
            // What came before it is still answered.
            broken = "\(error)"
            requestsReceived()
        default: flow.end(withReset: true)
        }
    }

    func guestHandshakeCompleted() { flow.cancelTimer() }

    // MARK: A request

    private func begin(_ head: HTTPRequestHead) {
        flow.cancelTimer()
        var forwarded: HTTPRequestRules.Forwarded
        do {
            let name = try flow.admit(head, kind)
            forwarded = HTTPRequestRules.forwarded(head)
            if case .secret = kind {
                try SecretRewriter(flow.core.rules.secrets(for: name)).reveal(in: &forwarded.head)
            }
        } catch let refusal as HTTPRequestRules.Refusal {
            let status: HTTPResponseStatus = refusal.rule == .notHTTP ? .badRequest : .forbidden
            return refuse(status, refusal.rule, name: refusal.name, why: refusal.why)
        } catch let unfit as SecretRewriter.Unfit {
            return answer(.badGateway, "the value of secret \(unfit.secret) cannot stand in a header")
        } catch {
            return flow.end(withReset: true)
        }
        let exchange = Exchange(
            method: head.method, version: head.version, isWebSocket: forwarded.isWebSocket, isLast: forwarded.isLast)
        guard let upstream else {
            state = .opening(forwarded.head, exchange)
            return flow.openHTTP(self)
        }
        state = .exchange(exchange)
        upstream.write(.head(forwarded.head))
    }

    /// The way to the server is open: the request that waited for it goes out.
    func opened() {
        guard case .opening(let head, let exchange) = state, let upstream else { return }
        state = .exchange(exchange)
        upstream.write(.head(head))
        upstream.read()
        requestsReceived()
    }

    // MARK: Answers of our own

    /// Refuses a request: tells the client, and whoever watches.
    private func refuse(_ status: HTTPResponseStatus, _ rule: RefusalRule, name: String?, why: String) {
        flow.report(rule, name: name)
        answer(status, "refused by rule \(rule.rawValue): \(name.map { "\($0): " } ?? "")\(why)")
    }

    /// Answers in the server's place, and ends the connection.
    func answer(_ status: HTTPResponseStatus, _ text: String) {
        if case .over = state { return }
        let body = ByteBuffer(string: "Martlet: \(text)\n")
        state = .over
        queue.removeAll()
        let headers: HTTPHeaders = [
            "Content-Type": "text/plain; charset=utf-8", "Content-Length": "\(body.readableBytes)",
            "Connection": "close", "Cache-Control": "no-store",
        ]
        guest?.write(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers)))
        guest?.write(.body(.byteBuffer(body)))
        guest?.write(.end(nil))
        guest?.flush()
        flow.linger()
        // What the client still sends is read, and dropped, so that it gets to read this.
        guest?.read()
    }

    /// Ends the connection after what was written to the guest.
    func finish() {
        state = .over
        flow.linger()
        guest?.read()
    }
}
