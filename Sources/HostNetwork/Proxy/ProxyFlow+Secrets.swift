import NIOCore
import NIOSSL
import SandboxModel

extension ProxyFlow {
    /// Addresses of one host tried before giving up.
    private static let maxAddresses = 3

    /// Opens TLS to a host with secrets, at an address that was looked up for that very name: the guest's own choice
    /// where it is one, else one we look up.
    func openSecret(_ name: String, _ relay: HTTPRelay) {
        guard let destination else { return }
        if core.pins.isPinned(name, to: destination.address, now: .now()) {
            return openSecret(name, [destination], relay)
        }
        core.names.lookUp(name) { outcome in
            guard !self.isOver else { return }
            guard case .answer(let found) = outcome else { return relay.fail("too many lookups") }
            let destinations = found.addresses.map { Destination(address: $0, port: destination.port) }
                .filter { if case .refused = self.core.gate($0) { false } else { true } }
            guard !destinations.isEmpty else { return relay.fail("\(name) has no address that may be reached") }
            self.openSecret(name, Array(destinations.prefix(ProxyFlow.maxAddresses)), relay)
        }
    }

    private func openSecret(_ name: String, _ destinations: [Destination], _ relay: HTTPRelay) {
        guard let destination = destinations.first else { return }
        core.connect(to: destination, halfClosure: false).assumeIsolated().whenComplete { result in
            switch result {
            case .failure(let error):
                guard destinations.count > 1 else {
                    return relay.fail("\(name) cannot be reached at \(destination): \(error)")
                }
                self.openSecret(name, Array(destinations.dropFirst()), relay)
            case .success(let channel): self.secure(channel, name, relay)
            }
        }
    }

    /// The server has to prove that it is who it is meant to be, before it is told anything.
    private func secure(_ channel: any Channel, _ name: String, _ relay: HTTPRelay) {
        let handshake = core.loop.makePromise(of: Void.self)
        relay.handshake = handshake
        let timer = core.loop.scheduleTask(in: ProxyFlow.handshake) {
            handshake.fail(ChannelError.connectTimeout(ProxyFlow.handshake))
        }
        handshake.futureResult.assumeIsolated().whenComplete { result in
            timer.cancel()
            relay.handshake = nil
            switch result {
            case .success: relay.opened()
            case .failure(let error): relay.fail("\(name): \(ProxyFlow.describe(error))")
            }
        }
        do {
            attach(
                channel, relay,
                tls: try NIOSSLClientHandler(context: core.environment.trust.context, serverHostname: name))
        } catch {
            handshake.fail(error)
        }
    }

    private static func describe(_ error: any Error) -> String {
        switch error {
        case NIOSSLError.handshakeFailed(let reason):
            "\(reason)".contains("CERTIFICATE_VERIFY_FAILED")
                ? "its certificate is not from an authority this host trusts, or not valid now"
                : "the TLS handshake failed: \(reason)"
        case is NIOSSLExtraError: "its certificate is not for this name"
        case ChannelError.connectTimeout: "no TLS handshake in time"
        default: "the TLS handshake failed: \(error)"
        }
    }
}
