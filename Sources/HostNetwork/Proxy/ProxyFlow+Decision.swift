import NIOCore
import SandboxModel

extension ProxyFlow {
    /// The names that may be spoken to at a destination, as looked up by the guest.
    func admittedNames(_ destination: Destination) -> [String] {
        core.pins.names(of: destination.address, now: .now())
            .filter { core.rules.refusal(of: $0, port: destination.port) == nil }
    }

    /// Decides what the address alone can tell, and who may speak first.
    func admit(_ destination: Destination) {
        switch core.gate(destination) {
        case .refused(let rule): refuse(rule)
        case .open:
            guard !core.rules.network.secrets.isEmpty else {
                opening?.markDecided()
                return relay(.address)
            }
            setTimer(ProxyFlow.clientFirst) { self.openEarly(destination) }
            opening?.start()
        case .named:
            let names = core.pins.names(of: destination.address, now: .now())
            guard !names.isEmpty else { return refuse(.addressNotAllowed) }
            let refusals = names.map { ($0, core.rules.refusal(of: $0, port: destination.port)) }
            guard refusals.contains(where: { $0.1 == nil }) else {
                let nearest = refusals.first { $0.1 == .portNotAllowed } ?? refusals[0]
                return refuse(nearest.1 ?? .hostNotAllowed, name: nearest.0)
            }
            if ProxyFlow.clientsSpeakFirst(destination.port) {
                setTimer(ProxyFlow.silence) { self.end(withReset: true) }
            } else {
                openEarly(destination)
            }
            opening?.start()
        }
    }

    /// HTTP and HTTPS: nothing else is let through there, and in both the client begins.
    static func clientsSpeakFirst(_ port: UInt16) -> Bool { port == 80 || port == 443 }

    /// Opens the way to the server before the client has spoken, and lets the server's words in.
    private func openEarly(_ destination: Destination) {
        cancelTimer()
        isOpeningEarly = true
        core.connect(to: destination, halfClosure: true).assumeIsolated().whenComplete { result in
            guard !self.isOver else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            switch result {
            case .failure: self.end(withReset: true)
            case .success(let channel):
                self.setUpstream(channel)
                let relay = RelayHandler(flow: self, peer: self.guest)
                do {
                    try channel.pipeline.syncOperations.addHandler(relay)
                } catch {
                    return self.end(withReset: true)
                }
                self.early = relay
                self.opening?.relay = relay
                relay.proceed()
                self.resumeDecision()
            }
        }
    }

    /// What was decided while the way to the server was being opened.
    private func resumeDecision() {
        guard let first = decided else { return }
        decided = nil
        decide(first)
    }

    /// The client ended its side without a word: where servers speak first that is fine.
    func endedSilently() {
        guard let destination, !ProxyFlow.clientsSpeakFirst(destination.port) else { return end(withReset: false) }
        opening?.markDecided()
        decide(.other)
    }

    /// Decides over the client's first bytes.
    func decide(_ first: FirstBytes) {
        guard !isOver, let destination else { return }
        // The way to the server is being opened already: there is to be one only.
        if isOpeningEarly, upstream == nil {
            decided = first
            return
        }
        cancelTimer()
        switch core.gate(destination) {
        case .refused(let rule): refuse(rule)
        case .open:
            if case .tls(let hello) = first, let name = hello.serverName.flatMap({ HostPattern.normalized($0) }),
                core.rules.hasSecrets(for: name)
            {
                return terminate(name)
            }
            relay(.address)
        case .named: decideByName(first, destination)
        }
    }

    private func decideByName(_ first: FirstBytes, _ destination: Destination) {
        switch first {
        case .tls(let hello): decideTLS(hello, destination)
        case .http:
            guard destination.port != 443 else { return refuse(.notTLS) }
            setUse(.http([]))
            relayHTTP(.plain)
        case .http2: refuse(destination.port == 443 ? .notTLS : .notHTTP)
        case .broken: refuse(.notTLS)
        case .incomplete, .other:
            switch destination.port {
            case 443: refuse(.notTLS)
            case 80: refuse(.notHTTP)
            default:
                // Cut short while it could still have become a request.
                if first == .incomplete { return refuse(.notHTTP) }
                let names = admittedNames(destination)
                guard !names.isEmpty else { return refuse(.addressNotAllowed) }
                relay(.unnamed(names))
            }
        }
    }

    private func decideTLS(_ hello: ClientHello, _ destination: Destination) {
        guard !hello.hasEncryptedName else { return refuse(.encryptedServerName, name: hello.serverName) }
        guard let given = hello.serverName else { return refuse(.noServerName) }
        guard let name = HostPattern.normalized(given) else { return refuse(.hostNotAllowed, name: given) }
        if let rule = core.rules.refusal(of: name, port: destination.port) { return refuse(rule, name: name) }
        guard core.pins.isPinned(name, to: destination.address, now: .now()) else {
            return refuse(.hostMismatch, name: name)
        }
        // A server that has spoken already does not speak TLS: what it would make of this is anyone's guess.
        if early?.hasReceived ?? false { return refuse(.notTLS, name: name) }
        if core.rules.hasSecrets(for: name) { terminate(name) } else { relay(.tls(name), hello: hello) }
    }

    // MARK: Passing through

    /// Lets bytes through both ways, untouched.
    ///
    /// - Parameter hello: what a client that is held to a name has begun with.
    private func relay(_ use: Use, hello: ClientHello? = nil) {
        guard let destination else { return }
        setUse(use)
        if let upstream, let early { return join(upstream, early, hello) }
        core.connect(to: destination, halfClosure: true).assumeIsolated().whenComplete { result in
            switch result {
            case .failure: self.end(withReset: true)
            case .success(let channel):
                self.setUpstream(channel)
                guard !self.isOver else { return }
                let relay = RelayHandler(flow: self, peer: self.guest)
                do {
                    try channel.pipeline.syncOperations.addHandler(relay)
                } catch {
                    return self.end(withReset: true)
                }
                self.join(channel, relay, hello)
                relay.proceed()
            }
        }
    }

    private func join(_ upstream: any Channel, _ back: RelayHandler, _ hello: ClientHello?) {
        let forth = RelayHandler(flow: self, peer: upstream)
        forth.other = back
        back.other = forth
        do {
            if let hello, case .tls(let name) = use {
                let retry = HelloRetryGuard(flow: self, name: name)
                try guest.pipeline.syncOperations.addHandler(retry.clientHandler(afterFirst: hello.length))
                try upstream.pipeline.syncOperations.addHandler(retry.serverHandler(), position: .before(back))
            }
            try guest.pipeline.syncOperations.addHandler(forth)
        } catch {
            return end(withReset: true)
        }
        opening?.handOver()
        opening = nil
        early = nil
    }
}
