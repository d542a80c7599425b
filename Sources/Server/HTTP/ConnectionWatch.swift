import ControlPlane
import NIOCore
import NIOHTTPTypes
import SandboxModel

/// Notices when a client goes away while its request is being worked on, also one that only closed its sending half:
/// over TCP the two cannot be told apart.
final class ConnectionWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart

    let hasLeft = Latch()

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { hasLeft.open() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        hasLeft.open()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { hasLeft.open() }

    /// What opens when the client of a connection leaves; for a connection that is not watched, what never opens.
    static func hasLeft(_ channel: any Channel) async -> Latch {
        let found = try? await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.handler(type: ConnectionWatch.self).hasLeft
        }.get()
        return found ?? Latch()
    }
}

/// The client is not there any more.
struct ClientLeft: Error {}

extension APICall {
    /// Does work that is of no use once the client has left: it is cancelled then.
    func whileClientStays<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) async throws -> T {
        try await context.whileClientStays(work)
    }
}

extension APIContext {
    /// Does work that is of no use once the client has left: it is cancelled then.
    func whileClientStays<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) async throws -> T {
        let hasLeft = await ConnectionWatch.hasLeft(channel)
        return try await withThrowingTaskGroup(of: T.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await hasLeft.wait()
                throw ClientLeft()
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }
}
