import ControlPlane
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel
import ServiceLifecycle

/// Server-sent events, one after another; waits while the client is behind.
struct EventSink: Sendable {
    /// Events that may wait for a slow client.
    static let capacity = 16

    fileprivate let channel = BoundedChannel<ByteBuffer>(capacity: capacity)

    /// Sends one event; `data` is JSON on one line.
    func send(_ event: String, id: String? = nil, data: some Encodable) async throws {
        var buffer = ByteBuffer()
        if let id { buffer.writeString("id: \(id)\n") }
        buffer.writeString("event: \(event)\ndata: ")
        buffer.writeImmutableBuffer(try StrictJSON.encode(data))
        buffer.writeString("\n\n")
        try await channel.send(buffer)
    }
}

enum EventStream {
    /// An answer that goes on as long as `produce` does, the client stays and the daemon does not end. A failure, or
    /// the daemon's ending, is told as a last event `error`.
    static func response(
        _ call: APICall, produce: @escaping @Sendable (EventSink) async throws -> Void
    ) -> Response {
        let headers: HTTPFields = [
            .contentType: "text/event-stream", .cacheControl: "no-cache", .accelBuffering: "no",
        ]
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                let sink = EventSink()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    addProducers(to: &group, sink: sink, call: call, produce: produce)
                    defer { group.cancelAll() }
                    while let batch = try await sink.channel.nextBatch() { try await writer.write(joined(batch)) }
                }
                try await writer.finish(nil)
            })
    }

    private static func addProducers(
        to group: inout ThrowingTaskGroup<Void, any Error>, sink: EventSink, call: APICall,
        produce: @escaping @Sendable (EventSink) async throws -> Void
    ) {
        let channel = sink.channel
        @Sendable func end(with error: any Error) async {
            let known = ErrorResponse.martletError(error)
            try? await sink.send("error", data: ErrorResponse.body(known, requestID: call.context.requestID))
            channel.finish()
        }
        group.addTask {
            do {
                try await produce(sink)
                channel.finish()
            } catch {
                await end(with: error)
            }
        }
        group.addTask {
            while true {
                try await Task.sleep(for: call.heartbeat)
                channel.offer(ByteBuffer(string: ": alive\n\n"))
            }
        }
        group.addTask {
            try await ConnectionWatch.hasLeft(call.context.channel).wait()
            channel.finish(throwing: ClientLeft())
        }
        group.addTask {
            try await gracefulShutdown()
            await end(with: MartletError(.unavailable, "stream: the daemon is ending"))
        }
    }

    private static func joined(_ batch: [ByteBuffer]) -> ByteBuffer {
        var whole = ByteBuffer()
        whole.reserveCapacity(batch.reduce(0) { $0 + $1.readableBytes })
        for piece in batch { whole.writeImmutableBuffer(piece) }
        return whole
    }
}
