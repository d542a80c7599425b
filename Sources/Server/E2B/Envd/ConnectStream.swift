import ControlPlane
import E2BProtocol
import Hummingbird
import NIOCore
import SandboxModel
import ServiceLifecycle

/// Messages of a streaming answer, one after another; waits while the client is behind.
struct ConnectSink: Sendable {
    /// Messages that may wait for a slow client.
    static let capacity = 16

    fileprivate let channel = BoundedChannel<ByteBuffer>(capacity: capacity)

    func send(_ message: some Encodable) async throws {
        try await channel.send(ByteBuffer(bytes: ConnectFrame(payload: try ProtoJSON.encode(message)).encoded))
    }
}

/// An answer of the Connect protocol that is a stream: https://connectrpc.com/docs/protocol/#streaming-rpcs
enum ConnectStream {
    /// Goes on as long as `produce` does, the client stays and waits, and the daemon does not end. How it went is told in
    /// the last frame.
    static func response(
        _ call: EnvdCall, alive: any Encodable & Sendable, heartbeat: Duration,
        produce: @escaping @Sendable (ConnectSink) async throws -> Void
    ) throws -> Response {
        try call.checkStreaming()
        let deadline = try call.deadline()
        let beat = call.keepalive(heartbeat)
        let aliveFrame = ByteBuffer(bytes: ConnectFrame(payload: try ProtoJSON.encode(alive)).encoded)
        return call.streamed(
            ResponseBody { writer in
                let sink = ConnectSink()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    addProducer(to: &group, sink, produce)
                    addLimits(to: &group, sink, call, deadline)
                    group.addTask {
                        while true {
                            try await Task.sleep(for: beat)
                            sink.channel.offer(aliveFrame)
                        }
                    }
                    defer { group.cancelAll() }
                    while let batch = try await sink.channel.nextBatch() { try await writer.write(joined(batch)) }
                }
                try await writer.finish(nil)
            })
    }

    /// The last frame of a stream that failed.
    static func end(with error: ConnectError) -> ConnectFrame {
        .end((try? ProtoJSON.encode(EndStream(error: error))) ?? Array("{}".utf8))
    }

    private struct EndStream: Encodable { var error: ConnectError? }

    private static func addProducer(
        to group: inout ThrowingTaskGroup<Void, any Error>, _ sink: ConnectSink,
        _ produce: @escaping @Sendable (ConnectSink) async throws -> Void
    ) {
        group.addTask {
            do {
                try await produce(sink)
                try await sink.channel.send(ByteBuffer(bytes: ConnectFrame.end(Array("{}".utf8)).encoded))
                sink.channel.finish()
            } catch {
                await finish(sink, E2BErrors.connect(error))
            }
        }
    }

    private static func addLimits(
        to group: inout ThrowingTaskGroup<Void, any Error>, _ sink: ConnectSink, _ call: EnvdCall, _ deadline: Duration?
    ) {
        group.addTask {
            try await ConnectionWatch.hasLeft(call.context.channel).wait()
            sink.channel.finish(throwing: ClientLeft())
        }
        group.addTask {
            try await gracefulShutdown()
            await finish(sink, ConnectError(.unavailable, "the server is ending"))
        }
        guard let deadline else { return }
        group.addTask {
            try await Task.sleep(for: deadline)
            await finish(sink, ConnectError(.deadlineExceeded, "the time the client gave this call is over"))
        }
    }

    private static func finish(_ sink: ConnectSink, _ error: ConnectError) async {
        try? await sink.channel.send(ByteBuffer(bytes: end(with: error).encoded))
        sink.channel.finish()
    }

    private static func joined(_ batch: [ByteBuffer]) -> ByteBuffer {
        guard batch.count > 1 else { return batch.first ?? ByteBuffer() }
        var whole = ByteBuffer()
        whole.reserveCapacity(batch.reduce(0) { $0 + $1.readableBytes })
        for piece in batch { whole.writeImmutableBuffer(piece) }
        return whole
    }
}
