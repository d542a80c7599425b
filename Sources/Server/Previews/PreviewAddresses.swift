import ControlPlane
import MartletAPI
import SandboxModel
import Synchronization

/// Where published ports are reached, as clients are told.
final class PreviewAddresses: Sendable {
    let domain: PreviewDomain
    private let listener = Mutex<(host: String, port: Int)?>(nil)

    init(domain: PreviewDomain) { self.domain = domain }

    /// Takes note of where the API listens now.
    func listening(at address: ListeningAddress) {
        guard case .tcp(let host, let port) = address else { return }
        listener.withLock { $0 = (host, port) }
    }

    /// What stands behind `{port}-{id}.` in the names of hosts.
    var domainWithPort: String { domain.withPort(listening: listener.withLock { $0?.port }) }

    /// Where the API is reached by who has reached it under this name: below the domain, by what is in front of it.
    func api(authority: String) -> String {
        let host = authority.prefix { $0 != ":" }.lowercased()
        let isOurs = host == domain.name || host.hasSuffix("." + domain.name)
        return (isOurs ? domain.scheme : "http") + "://" + authority
    }

    func resource(_ published: PublishedPort) -> PortResource {
        let listener = listener.withLock { $0 }
        let path = PreviewRouting.prefix(sandbox: published.sandbox.rawValue, port: published.port) + "/"
        return PortResource(
            port: Int(published.port), visibility: published.visibility,
            url: domain.url(port: published.port, sandbox: published.sandbox, listening: listener?.port),
            pathURL: PreviewAddresses.base(listener) + path, token: published.token, expiresAt: published.expiresAt,
            wake: published.wakes)
    }

    /// An address that listens everywhere is no address to go to.
    private static func base(_ listener: (host: String, port: Int)?) -> String {
        guard let (host, port) = listener else { return "http://localhost" }
        if ["0.0.0.0", "::", ""].contains(host) { return "http://localhost:\(port)" }
        return host.contains(":") ? "http://[\(host)]:\(port)" : "http://\(host):\(port)"
    }
}
