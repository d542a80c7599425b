import NIOCore
import NIOPosix
import NIOTLS
import Synchronization

@testable import HostNetwork

/// One end of a TCP connection in a test: sends bytes, waits for bytes, and tells an end from a reset.
final class Peer: Sendable {
    enum Ending: Sendable, Equatable {
        case end
        case reset
    }

    private struct State {
        var bytes: [UInt8] = []
        var ending: Ending?
        var negotiated: String?
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var last = 0
    }

    let channel: any Channel
    private let state = Mutex(State())

    init(_ channel: any Channel) { self.channel = channel }

    /// Adds what feeds this peer; on the channel's event loop.
    func attach() throws { try channel.pipeline.syncOperations.addHandler(PeerHandler(peer: self)) }

    static func connect(port: Int) async throws -> Peer {
        let made = Mutex<Peer?>(nil)
        _ = try await ClientBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let peer = Peer(channel)
                    try peer.attach()
                    made.withLock { $0 = peer }
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return made.withLock { $0 }!
    }

    func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) async throws {
        do {
            try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
        } catch {
            finish(.reset)
            throw error
        }
    }

    func endSending() async throws { try await channel.close(mode: .output).get() }

    /// Closes so that the other side sees a reset.
    func reset() async throws {
        let channel = channel
        try await channel.eventLoop.submit {
            channel.prepareReset()
            channel.close(promise: nil)
        }.get()
    }

    func close() async {
        try? await channel.close().get()
    }

    /// Everything up to the end, and what end that was.
    func readToEnd() async throws -> (bytes: [UInt8], ending: Ending) {
        try await wait { $0.ending != nil }
        return state.withLock { ($0.bytes, $0.ending!) }
    }

    func textToEnd() async throws -> String { String(decoding: try await readToEnd().bytes, as: UTF8.self) }

    /// What both sides of a TLS handshake agreed to speak.
    var negotiated: String? { state.withLock { $0.negotiated } }

    /// Takes bytes off the front, as soon as there are so many.
    func read(_ count: Int) async throws -> [UInt8] {
        try await wait { $0.bytes.count >= count || $0.ending != nil }
        return state.withLock { state in
            let taken = Array(state.bytes.prefix(count))
            state.bytes.removeFirst(taken.count)
            return taken
        }
    }

    /// Takes everything up to and with a text off the front.
    func read(through text: String) async throws -> String {
        let part = Array(text.utf8)
        @Sendable func end(_ bytes: [UInt8]) -> Int? {
            guard bytes.count >= part.count else { return nil }
            for start in 0...(bytes.count - part.count) where bytes[start..<start + part.count].elementsEqual(part) {
                return start + part.count
            }
            return nil
        }
        try await wait { end($0.bytes) != nil || $0.ending != nil }
        return state.withLock { state in
            let count = end(state.bytes) ?? state.bytes.count
            let taken = state.bytes.prefix(count)
            state.bytes.removeFirst(count)
            return String(decoding: taken, as: UTF8.self)
        }
    }

    private func wait(_ isDone: @escaping @Sendable (borrowing State) -> Bool) async throws {
        while true {
            try Task.checkCancellation()
            let id = state.withLock { state in
                state.last += 1
                return state.last
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isReady = state.withLock { state in
                        if isDone(state) || Task.isCancelled { return true }
                        state.waiters[id] = continuation
                        return false
                    }
                    if isReady { continuation.resume() }
                }
            } onCancel: {
                state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
            }
            if state.withLock({ isDone($0) }) { return }
        }
    }

    fileprivate func receive(_ bytes: ByteBufferView) { change { $0.bytes.append(contentsOf: bytes) } }

    fileprivate func finish(_ ending: Ending) { change { if $0.ending == nil { $0.ending = ending } } }

    fileprivate func negotiate(_ protocol: String?) { change { $0.negotiated = `protocol` } }

    private func change(_ body: (inout State) -> Void) {
        let waiters = state.withLock { state in
            body(&state)
            defer { state.waiters.removeAll() }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
    }
}

private final class PeerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let peer: Peer

    init(peer: Peer) { self.peer = peer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        peer.receive(unwrapInboundIn(data).readableBytesView)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: peer.finish(.end)
        case TLSUserEvent.handshakeCompleted(let negotiated): peer.negotiate(negotiated)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        peer.finish(.reset)
        context.close(promise: nil)
    }

    /// An end that was a proper one was told of before.
    func channelInactive(context: ChannelHandlerContext) { peer.finish(.reset) }
}
