import ControlPlane
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// A client's connection: HTTP/1 for the API as Hummingbird serves it, with previews and tunnels taken out before.
struct PreviewConnection: ServerChildChannel, HTTPChannelHandler {
    struct Value: ServerChildChannelValue {
        let api: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
        let exchanges: BoundedChannel<PreviewExchange>
        var channel: any Channel { api.channel }
    }

    let responder: Responder
    let previews: Previews
    let routing: PreviewRouting
    /// A connection on which nothing happens for this long is closed, unless an answer is on its way.
    let idleTimeout: TimeAmount

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let ready: EventLoopFuture<Void> =
            // A client that vanished without a word is noticed, also where nobody has anything to say.
            channel.remoteAddress?.port == nil
            ? channel.eventLoop.makeSucceededVoidFuture()
            : channel.setOption(ChannelOptions.socketOption(.so_keepalive), value: 1)
        return ready.flatMapThrowing {
            let exchanges = BoundedChannel<PreviewExchange>(capacity: 4)
            let pipeline = channel.pipeline.syncOperations
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = 80 * 1024
            limits.maxHeaderListSize = 80 * 1024
            limits.maxHeaderFieldCount = 1000
            let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits)
            try pipeline.addHandler(ByteToMessageHandler(decoder))
            try pipeline.addHandler(HTTPResponseEncoder())
            try pipeline.addHandler(
                PreviewHandler(routing: routing, exchanges: exchanges, idleTimeout: idleTimeout))
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            try pipeline.addHandler(ConnectionWatch())
            try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: nil, logger: logger))
            let api = try NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
            return Value(api: api, exchanges: exchanges)
        }
    }

    func handle(value: Value, logger: Logger) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while let batch = try? await value.exchanges.nextBatch() {
                    for exchange in batch { await previews.serve(exchange) }
                }
            }
            await handleHTTP(asyncChannel: value.api, logger: logger)
            value.exchanges.finish()
            group.cancelAll()
        }
    }
}
