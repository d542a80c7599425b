import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import SandboxModel

extension ProxyFlow {
    /// Time for either side's TLS handshake.
    static let handshake = TimeAmount.seconds(15)

    /// Bounds of one message's head; those of common servers.
    private static var limits: NIOHTTPDecoderLimitConfiguration {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 32_768
        limits.maxHeaderListSize = 131_072
        limits.maxHeaderFieldCount = 256
        return limits
    }

    /// Checks who a request is for.
    ///
    /// - Returns: the name it is for.
    func admit(_ head: HTTPRequestHead, _ kind: HTTPRelay.Kind) throws(HTTPRequestRules.Refusal) -> String {
        guard let destination else { throw HTTPRequestRules.Refusal(rule: .notHTTP, why: "the connection is over") }
        let name = try HTTPRequestRules.host(of: head, port: destination.port)
        func refusal(_ rule: RefusalRule, _ why: String) -> HTTPRequestRules.Refusal {
            HTTPRequestRules.Refusal(rule: rule, name: name, why: why)
        }
        if case .secret(let served) = kind {
            guard name == served else { throw refusal(.hostMismatch, "Host is not the name of the TLS handshake") }
            return name
        }
        // Since a change of policy names may decide nothing here any more.
        if core.gate(destination) == .open { return name }
        if let rule = core.rules.refusal(of: name, port: destination.port) {
            throw refusal(rule, rule == .portNotAllowed ? "not on port \(destination.port)" : "not an allowed host")
        }
        guard core.pins.isPinned(name, to: destination.address, now: .now()) else {
            throw refusal(.hostMismatch, "\(destination.address) is no address that was looked up for it")
        }
        guard addHTTPHost(name) else { throw refusal(.hostMismatch, "too many hosts on one connection") }
        return name
    }

    // MARK: The guest's side

    /// Takes plain HTTP on.
    func relayHTTP(_ kind: HTTPRelay.Kind) {
        do {
            try serveHTTP(kind)
        } catch {
            end(withReset: true)
        }
    }

    /// Ends TLS here, for a host that has secrets.
    func terminate(_ name: String) {
        setUse(.secret(name))
        // Opened for a client that had nothing to say: its server is not the one that is told a secret.
        takeEarly()?.close(promise: nil)
        guard let issuer = core.issuer else {
            core.environment.logger.error("a sandbox with secrets has no authority", metadata: ["host": "\(name)"])
            return end(withReset: true)
        }
        setTimer(ProxyFlow.handshake) { self.end(withReset: true) }
        do {
            let context = try issuer.context(for: name)
            // An end without a farewell is one side's failure, not the other's end of file.
            try guest.syncOptions?.setOption(.allowRemoteHalfClosure, value: false)
            try guest.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
            try serveHTTP(.secret(name))
        } catch {
            core.environment.logger.warning(
                "cannot end TLS for a host with secrets", metadata: ["host": "\(name)", "why": "\(error)"])
            end(withReset: true)
        }
    }

    private func serveHTTP(_ kind: HTTPRelay.Kind) throws {
        let relay = HTTPRelay(flow: self, kind: kind)
        let handler = HTTPGuestHandler(relay: relay)
        relay.guest = handler
        guest.closeFuture.assumeIsolated().whenComplete { _ in relay.release() }
        var configuration = HTTPResponseEncoder.Configuration()
        configuration.automaticallySetFramingHeaders = false
        let decoder = HTTPRequestDecoder(
            leftOverBytesStrategy: .forwardBytes, informationalResponseStrategy: .drop,
            limitConfiguration: ProxyFlow.limits)
        try guest.pipeline.syncOperations.addHandlers([
            HTTPResponseEncoder(configuration: configuration),
            ByteToMessageHandler(decoder, maximumBufferSize: 1 << 20),
            handler,
        ])
        opening?.handOver()
        opening = nil
        handler.read()
    }

    // MARK: The server's side

    /// Opens the way to the server a relay's first request is for.
    func openHTTP(_ relay: HTTPRelay) {
        guard let destination else { return }
        switch relay.kind {
        case .plain:
            if let channel = takeEarly() { return attach(channel, relay) }
            core.connect(to: destination, halfClosure: true).assumeIsolated().whenComplete { result in
                switch result {
                case .success(let channel): self.attach(channel, relay)
                case .failure(let error): relay.fail("\(destination) cannot be reached: \(error)")
                }
            }
        case .secret(let name): openSecret(name, relay)
        }
    }

    /// The channel opened before the client had spoken, if its server has kept silent.
    private func takeEarly() -> (any Channel)? {
        guard let channel = upstream, let early else { return nil }
        self.early = nil
        guard !early.hasReceived, channel.isActive else {
            channel.close(promise: nil)
            return nil
        }
        channel.pipeline.syncOperations.removeHandler(early, promise: nil)
        return channel
    }

    func attach(_ channel: any Channel, _ relay: HTTPRelay, tls: NIOSSLClientHandler? = nil) {
        setUpstream(channel)
        guard !isOver else { return }
        let handler = HTTPUpstreamHandler(relay: relay)
        var configuration = HTTPRequestEncoder.Configuration()
        configuration.automaticallySetFramingHeaders = false
        let decoder = HTTPResponseDecoder(
            leftOverBytesStrategy: .forwardBytes, informationalResponseStrategy: .forward,
            limitConfiguration: ProxyFlow.limits)
        relay.upstream = handler
        relay.upstreamChannel = channel
        do {
            let operations = channel.pipeline.syncOperations
            if let tls { try operations.addHandler(tls) }
            try operations.addHandlers([
                HTTPRequestEncoder(configuration: configuration),
                ByteToMessageHandler(decoder, maximumBufferSize: 1 << 20),
                handler,
            ])
        } catch {
            return end(withReset: true)
        }
        if tls == nil { relay.opened() } else { handler.read() }
    }

    // MARK: Ends

    /// Ends our direction after what was written, and gives the client a moment to read it: closing while it still
    /// sends would take the answer from it.
    func linger() {
        guard !isOver else { return }
        upstream?.close(promise: nil)
        if case .secret = use { return end(withReset: false) }
        guest.closeAfterWriting(mode: .output)
        setTimer(ProxyFlow.lingering) { self.end(withReset: false) }
    }

    /// Both sides go on in another protocol: from here on bytes pass untouched.
    func switchToRaw(_ relay: HTTPRelay) {
        guard let channel = relay.upstreamChannel, let guestHandler = relay.guest, let upstreamHandler = relay.upstream
        else { return }
        relay.state = .over
        let forth = RelayHandler(flow: self, peer: channel)
        let back = RelayHandler(flow: self, peer: guest)
        forth.other = back
        back.other = forth
        let (ours, theirs) = (guest.pipeline.syncOperations, channel.pipeline.syncOperations)
        do {
            let encoders = (
                try ours.context(handlerType: HTTPResponseEncoder.self),
                try theirs.context(handlerType: HTTPRequestEncoder.self)
            )
            let decoders = (
                try ours.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self),
                try theirs.context(handlerType: ByteToMessageHandler<HTTPResponseDecoder>.self)
            )
            try ours.addHandler(forth)
            try theirs.addHandler(back)
            ours.removeHandler(guestHandler, promise: nil)
            theirs.removeHandler(upstreamHandler, promise: nil)
            ours.removeHandler(context: encoders.0, promise: nil)
            theirs.removeHandler(context: encoders.1, promise: nil)
            // Each passes on what it has of the bytes behind the last message; the server's first, since its decoder
            // sees what is written, too, and leaves only when it is done with what it is at.
            let left = (core.loop.makePromise(of: Void.self), core.loop.makePromise(of: Void.self))
            theirs.removeHandler(context: decoders.1, promise: left.1)
            left.1.futureResult.assumeIsolated().whenComplete { _ in
                ours.removeHandler(context: decoders.0, promise: left.0)
            }
            left.0.futureResult.assumeIsolated().whenComplete { _ in
                self.guest.flush()
                channel.flush()
                forth.proceed()
                back.proceed()
            }
        } catch {
            end(withReset: true)
        }
    }
}
