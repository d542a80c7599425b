import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel

/// Puts questions to name servers, one after the other until one answers. Lives on its event loop only.
final class NameServerClient {
    /// Where to ask.
    struct Servers: Sendable {
        var addresses: [IPv4Address]
        var port: UInt16
        var route: NameServerRoute
    }

    /// Questions asked for one thing at the most: each server is asked twice, but no more often than this.
    static let maxAttempts = 4
    /// For all of them: less than the five seconds after which clients ask again themselves.
    static let patience = TimeAmount.milliseconds(4600)

    private let loop: any EventLoop
    private let jobs: LoopJobs
    var servers: Servers

    private var attempts: Int { min(NameServerClient.maxAttempts, servers.addresses.count * 2) }
    private var patienceForOne: TimeAmount {
        .nanoseconds(NameServerClient.patience.nanoseconds / Int64(max(1, attempts)))
    }

    init(loop: any EventLoop, jobs: LoopJobs, servers: Servers) {
        self.loop = loop
        self.jobs = jobs
        self.servers = servers
    }

    /// Asks until an answer is of use; nil when none is in time.
    ///
    /// - Parameter use: what an answer means; nil where another server should be asked.
    func ask<Answer: Sendable, Use: Sendable>(
        _ question: NameServerQuestion<Answer>, attempt: Int = 0, use: @escaping @Sendable (Answer) -> Use?
    ) -> EventLoopFuture<Use?> {
        guard attempt < attempts, !jobs.isStopped else { return loop.makeSucceededFuture(nil) }
        let server = servers.addresses[attempt % servers.addresses.count]
        let asked = datagram(question, to: server).assumeIsolated().flatMap { answer in
            question.isTruncated(answer) ? self.stream(question, to: server) : self.loop.makeSucceededFuture(answer)
        }
        return asked.map { (answer: Answer) -> Use? in use(answer) }
            .flatMapError { _ in self.loop.makeSucceededFuture(nil) }
            .flatMap { used in
                used != nil ? self.loop.makeSucceededFuture(used) : self.ask(question, attempt: attempt + 1, use: use)
            }.nonisolated()
    }

    // MARK: One question

    private func datagram<Answer>(
        _ question: NameServerQuestion<Answer>, to server: IPv4Address
    ) -> EventLoopFuture<Answer> {
        let id = UInt16.random(in: .min ... .max)
        guard let remote = try? SocketAddress.of(server, port: servers.port) else {
            return loop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        let (route, port, loop) = (servers.route, servers.port, loop)
        let socket = jobs.run { try await route.datagramSocket(to: server, port: port) }
        return open(socket) { descriptor, answer in
            DatagramBootstrap(group: loop)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            NameServerDatagram(question, id: id, server: remote, answer: answer))
                    }
                }
                .withBoundSocket(descriptor.release())
                .map { channel in
                    let query = ByteBuffer(bytes: question.message(id))
                    channel.writeAndFlush(AddressedEnvelope(remoteAddress: remote, data: query), promise: nil)
                    return channel
                }
        }
    }

    private func stream<Answer>(
        _ question: NameServerQuestion<Answer>, to server: IPv4Address
    ) -> EventLoopFuture<Answer> {
        let id = UInt16.random(in: .min ... .max)
        let (loop, port) = (loop, servers.port)
        let bootstrap: @Sendable (EventLoopPromise<Answer>) -> ClientBootstrap = { answer in
            ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            NameServerStream(question, id: id, answer: answer))
                    }
                }
        }
        let send: @Sendable (any Channel) -> any Channel = { channel in
            let query = question.message(id)
            var buffer = ByteBuffer(integer: UInt16(query.count))
            buffer.writeBytes(query)
            channel.writeAndFlush(buffer, promise: nil)
            return channel
        }
        switch servers.route {
        case .host:
            let address = loop.makeCompletedFuture { try SocketAddress.of(server, port: port) }
            return open(address) { address, answer in bootstrap(answer).connect(to: address).map(send) }
        case .slot(let connector):
            let socket = jobs.run { try await connector.connect(to: server, port: port, timeout: .seconds(2)) }
            return open(socket) { descriptor, answer in
                bootstrap(answer).withConnectedSocket(descriptor.release()).map(send)
            }
        }
    }

    /// Opens a channel for one answer, and sees that it is closed and the answer decided in time.
    private func open<Resource: Sendable, Answer: Sendable>(
        _ resource: EventLoopFuture<Resource>,
        _ body: @escaping @Sendable (Resource, EventLoopPromise<Answer>) -> EventLoopFuture<any Channel>
    ) -> EventLoopFuture<Answer> {
        let answer = loop.makePromise(of: Answer.self)
        resource.flatMap { body($0, answer) }.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                self.jobs.own(channel)
                answer.futureResult.whenComplete { _ in channel.close(promise: nil) }
            case .failure(let error): answer.fail(error)
            }
        }
        let patience = patienceForOne
        let timer = loop.scheduleTask(in: patience) { answer.fail(ChannelError.connectTimeout(patience)) }
        answer.futureResult.whenComplete { _ in timer.cancel() }
        return answer.futureResult
    }
}
