import FoundationEssentials
import NIOCore
import NIOPosix
import SandboxModel
import Synchronization

/// QEMU's control connection (QMP): commands are answered in order, events come in between.
/// Protocol: "QEMU Machine Protocol Specification" in QEMU's documentation.
package final class QMPConnection: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<QMPHandler>

    private init(channel: any Channel, handler: NIOLoopBound<QMPHandler>) {
        self.channel = channel
        self.handler = handler
    }

    /// Takes over a connected socket; returns when QEMU has greeted and takes commands.
    package static func start(
        descriptor: Int32, group: any EventLoopGroup, timeout: Duration
    ) async throws -> QMPConnection {
        let loop = group.next()
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(QMPHandler())
                    }
                }
                .withConnectedSocket(descriptor).get()
        } catch {
            throw MartletError(.unavailable, "qemu: connect to its monitor: \(error)")
        }
        let handler = try await channel.eventLoop.submit {
            NIOLoopBound(
                try channel.pipeline.syncOperations.handler(type: QMPHandler.self), eventLoop: channel.eventLoop)
        }.get()
        let connection = QMPConnection(channel: channel, handler: handler)
        try await connection.execute("qmp_capabilities", timeout: timeout)
        return connection
    }

    /// Runs a command whose answer says nothing.
    ///
    /// - Parameter arguments: a JSON object.
    package func execute(_ command: String, _ arguments: String? = nil, timeout: Duration = .seconds(10)) async throws {
        _ = try await send(command, arguments, timeout: timeout).get()
    }

    /// Runs a command and reads its answer.
    package func execute<Answer: Decodable>(
        _ command: String, _ arguments: String? = nil, as: Answer.Type, timeout: Duration = .seconds(10)
    ) async throws -> Answer {
        let line = try await send(command, arguments, timeout: timeout).get()
        do {
            return try JSONDecoder().decode(QMPReturn<Answer>.self, from: Data(line)).return
        } catch {
            throw MartletError(.internal, "qemu: its answer to \(command) cannot be read: \(error)")
        }
    }

    /// Runs a command and waits for one of the events it may lead to.
    func execute(_ command: String, _ arguments: String?, until events: [String], timeout: Duration) async throws {
        let handler = handler
        let happened = channel.eventLoop.flatSubmit { handler.value.wait(for: events, timeout: timeout) }
        let answer = send(command, arguments, timeout: timeout)
        _ = try await answer.flatMap { _ in happened }.get()
    }

    private func send(_ command: String, _ arguments: String?, timeout: Duration) -> EventLoopFuture<[UInt8]> {
        let handler = handler
        return channel.eventLoop.flatSubmit { handler.value.send(command, arguments, timeout: timeout) }
    }

    var isOpen: Bool { channel.isActive }

    /// Lets go of the connection; commands under way fail.
    package func close() { channel.close(promise: nil) }
}

/// The successful answer to a command.
private struct QMPReturn<Answer: Decodable>: Decodable { var `return`: Answer }

/// Lines in, answers out; on its event loop only.
private final class QMPHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Longer lines than this mean that something is wrong; the longest honest one is a console log in base 64.
    static let lineLimit = 1 << 20

    private struct Message: Decodable {
        struct Failure: Decodable { var desc: String }
        var id: Int?
        var event: String?
        var error: Failure?
    }

    private var buffer: [UInt8] = []
    private var nextID = 1
    private var pending: [Int: (command: String, promise: EventLoopPromise<[UInt8]>, deadline: Scheduled<Void>)] = [:]
    private var waiting: [Waiter] = []

    private struct Waiter {
        var events: [String]
        var promise: EventLoopPromise<Void>
        var deadline: Scheduled<Void>
    }

    private var context: ChannelHandlerContext?
    private var isClosed = false

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func send(_ command: String, _ arguments: String?, timeout: Duration) -> EventLoopFuture<[UInt8]> {
        guard let context, !isClosed else {
            return NIOSingletons.posixEventLoopGroup.next().makeFailedFuture(gone)
        }
        let id = nextID
        nextID += 1
        let promise = context.eventLoop.makePromise(of: [UInt8].self)
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let deadline = context.eventLoop.scheduleTask(in: .nanoseconds(timeout.inNanoseconds)) {
            let entry = bound.value.pending.removeValue(forKey: id)
            entry?.promise.fail(MartletError(.timeout, "qemu: no answer to \(command) in time"))
        }
        pending[id] = (command, promise, deadline)
        var line = "{\"execute\":\"\(command)\",\"id\":\(id)"
        if let arguments { line += ",\"arguments\":\(arguments)" }
        line += "}\n"
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(string: line)), promise: nil)
        return promise.futureResult
    }

    func wait(for events: [String], timeout: Duration) -> EventLoopFuture<Void> {
        guard let context, !isClosed else {
            return NIOSingletons.posixEventLoopGroup.next().makeFailedFuture(gone)
        }
        let promise = context.eventLoop.makePromise(of: Void.self)
        let deadline = context.eventLoop.scheduleTask(in: .nanoseconds(timeout.inNanoseconds)) {
            promise.fail(MartletError(.timeout, "qemu: \(events[0]) did not happen in time"))
        }
        waiting.append(Waiter(events: events, promise: promise, deadline: deadline))
        return promise.futureResult
    }

    private var gone: MartletError { MartletError(.unavailable, "qemu: its monitor is closed: the process ended") }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        buffer.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        var start = 0
        while let newline = buffer[start...].firstIndex(of: 10) {
            take(line: Array(buffer[start..<newline]))
            start = newline + 1
        }
        buffer.removeSubrange(0..<start)
        if buffer.count > QMPHandler.lineLimit { context.close(promise: nil) }
    }

    private func take(line: [UInt8]) {
        guard let message = try? JSONDecoder().decode(Message.self, from: Data(line)) else { return }
        if let event = message.event {
            var rest: [Waiter] = []
            for entry in waiting {
                if entry.events.contains(event) {
                    entry.deadline.cancel()
                    entry.promise.succeed(())
                } else {
                    rest.append(entry)
                }
            }
            waiting = rest
        } else if let id = message.id, let entry = pending.removeValue(forKey: id) {
            entry.deadline.cancel()
            if let error = message.error {
                entry.promise.fail(MartletError(.internal, "qemu: \(entry.command): \(error.desc)"))
            } else {
                entry.promise.succeed(line)
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        isClosed = true
        for entry in pending.values {
            entry.deadline.cancel()
            entry.promise.fail(gone)
        }
        pending.removeAll()
        for entry in waiting {
            entry.deadline.cancel()
            entry.promise.fail(gone)
        }
        waiting.removeAll()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// A string as JSON writes it.
package func jsonString(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        default:
            if scalar.value < 0x20 {
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
    return result + "\""
}
