import NIOCore
import NIOHTTP1

extension HTTPRelay {
    func receive(_ part: HTTPClientResponsePart) {
        flow.touch()
        guard case .exchange(let exchange) = state, !exchange.isAnswerDone else {
            if case .over = state { return }
            // An answer nobody asked for.
            return flow.end(withReset: true)
        }
        switch part {
        case .head(let head): receive(head, exchange)
        case .body(let bytes):
            guard !exchange.hasNoBody, !exchange.isSwitching else { return }
            guest?.write(.body(.byteBuffer(bytes)))
            if !answersHeld.measure(flow.guest) { flow.end(withReset: true) }
        case .end(let trailers): endAnswer(trailers, exchange)
        }
    }

    private func receive(_ head: HTTPResponseHead, _ before: Exchange) {
        var exchange = before
        if head.status.code == 101 {
            guard exchange.isWebSocket, exchange.isRequestDone else {
                return fail("the server changed the protocol without being asked to")
            }
            exchange.isSwitching = true
            exchange.hasAnswer = true
            state = .exchange(exchange)
            guest?.write(.head(head))
            return
        }
        if head.status.code < 200 {
            guard exchange.version == .http1_1 else { return }
            guest?.write(.head(head))
            guest?.flush()
            return
        }
        do {
            var forwarded = try HTTPResponseRules.forwarded(
                head, method: exchange.method, version: exchange.version, isLast: exchange.isLast)
            if case .secret(let name) = kind {
                SecretRewriter(flow.core.rules.secrets(for: name)).conceal(in: &forwarded.head.headers)
            }
            exchange.hasAnswer = true
            exchange.hasNoBody = forwarded.hasNoBody
            exchange.isLast = forwarded.isLast
            state = .exchange(exchange)
            guest?.write(.head(forwarded.head))
        } catch {
            fail("its answer cannot be read: \(error.why)")
        }
    }

    private func endAnswer(_ trailers: HTTPHeaders?, _ before: Exchange) {
        var exchange = before
        guard exchange.hasAnswer else { return }
        guest?.flush()
        if exchange.isSwitching { return flow.switchToRaw(self) }
        if !exchange.hasNoBody { guest?.write(.end(trailers)) }
        exchange.isAnswerDone = true
        state = .exchange(exchange)
        completeIfDone()
    }

    /// Goes on to the next request when both the request and its answer are through.
    func completeIfDone() {
        guard case .exchange(let exchange) = state, exchange.isAnswerDone else { return }
        guest?.flush()
        if exchange.isLast { return finish() }
        guard exchange.isRequestDone else { return }
        state = .idle
        requestsReceived()
    }

    func answersReceived() {
        guest?.flush()
        if case .over = state { return }
        waitsForGuest = !flow.guest.isWritable
        if !waitsForGuest { upstream?.read() }
    }

    func guestWritabilityChanged() {
        guard flow.guest.isWritable else { return }
        _ = answersHeld.set(0)
        guard waitsForGuest else { return }
        waitsForGuest = false
        upstream?.read()
    }

    /// The server's side is over, or failed.
    func upstreamEnded(_ error: (any Error)?) {
        if let error, let handshake {
            self.handshake = nil
            return handshake.fail(error)
        }
        handshake?.fail(ChannelError.eof)
        handshake = nil
        switch state {
        case .over, .opening: return
        case .idle: finish()
        case .exchange(let exchange):
            if !exchange.hasAnswer { return fail("the server closed the connection without an answer") }
            // What came is not all of it: the client is not to take it for that.
            flow.end(withReset: true)
        }
    }

    func upstreamHandshakeCompleted() {
        handshake?.succeed(())
        handshake = nil
    }

    /// The server cannot be spoken to.
    func fail(_ why: String) {
        if case .exchange(let exchange) = state, exchange.hasAnswer { return flow.end(withReset: true) }
        answer(.badGateway, why)
    }
}
