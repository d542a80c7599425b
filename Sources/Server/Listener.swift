import Glibc
import Hummingbird
import HummingbirdCore
import LinuxSystem
import Logging
import NIOCore
import SandboxModel
import ServiceLifecycle

/// Serves the routes at one address until graceful shutdown; then no more connections are taken, streams end with an
/// `error` event, and what still goes on after `drain` is cut off.
struct Listener: Service {
    /// A connection on which nothing happens for this long is closed, unless an answer is on its way.
    private static let idleTimeout = TimeAmount.seconds(300)

    let address: ListeningAddress
    let responder: RouterResponder<APIContext>
    let previews: Previews
    let routing: PreviewRouting
    let drain: Duration
    let logger: Logger
    let onListening: @Sendable (ListeningAddress) async -> Void

    func run() async throws {
        switch address {
        case .tcp(let host, let port):
            try await serve(at: .hostname(host, port: port)) { channel in
                let port = channel.localAddress?.port ?? port
                await onListening(.tcp(host: host, port: port))
            }
        case .unix(let path):
            let socket = try SocketPath(path)
            try await serve(at: .unixDomainSocket(path: socket.usable)) { _ in
                // The directory is the user's own already; this says it once more.
                if chmod(socket.usable, 0o600) != 0 {
                    logger.warning("the socket's mode could not be set", metadata: ["path": "\(path)"])
                }
                await onListening(.unix(path: path))
            }
            unlink(socket.usable)
        }
    }

    private func serve(
        at address: BindAddress, onRunning: @escaping @Sendable (any Channel) async -> Void
    ) async throws {
        let application = Application(
            responder: responder,
            server: HTTPServerBuilder { [previews, routing] responder in
                PreviewConnection(
                    responder: responder, previews: previews, routing: routing, idleTimeout: Listener.idleTimeout)
            },
            configuration: .init(address: address, serverName: "martlet"),
            onServerRunning: onRunning,
            logger: logger)
        do {
            try await runUntilDrained(application)
        } catch let error as IOError {
            throw MartletError(.unavailable, "listen: \(self.address): \(error)")
        }
    }

    private func runUntilDrained(_ application: some Service) async throws {
        let drain = drain
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await application.run()
                return true
            }
            group.addTask {
                try await gracefulShutdown()
                try await Task.sleep(for: drain)
                return false
            }
            let isOver = try await group.next() ?? true
            group.cancelAll()
            // Cut off on purpose: that it throws then says nothing.
            if !isOver { try? await group.waitForAll() }
        }
    }
}

extension ListeningAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .tcp(let host, let port): "\(host):\(port)"
        case .unix(let path): path
        }
    }
}
