import Glibc
import NIOCore

/// What one direction of a connection holds because the other side does not take it, counted into the slot's sum.
struct HeldBytes {
    private let core: ProxyCore
    private(set) var count = 0

    init(core: ProxyCore) { self.core = core }

    /// Notes how much is held now; false when the slot holds too much.
    mutating func set(_ count: Int) -> Bool {
        core.heldBytes += count - self.count
        self.count = count
        return count == 0 || core.heldBytes <= ProxyCore.maxHeldBytes
    }

    /// Notes what a channel holds of what was written to it.
    mutating func measure(_ channel: any Channel) -> Bool {
        guard !channel.isWritable else { return set(0) }
        return set((try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
    }
}

/// Tells when everything written to its channel is on its way; the handler next to the socket, so that it does not
/// matter what those behind it speak.
final class DrainHandler: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    fileprivate func whenWritten(_ body: @escaping () -> Void) {
        guard let context else { return body() }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in body() }
    }
}

extension Channel {
    /// Closes once everything written so far is on its way. `mode` `.output` ends one direction only.
    func closeAfterWriting(mode: CloseMode = .all) {
        guard let drain = try? pipeline.syncOperations.handler(type: DrainHandler.self) else {
            return close(mode: mode, promise: nil)
        }
        let channel = self
        drain.whenWritten { channel.close(mode: mode, promise: nil) }
    }

    /// Sees that the other side will see a reset: it is not to take this for the end of an answer. On the event loop.
    func prepareReset() {
        (self as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
    }
}
