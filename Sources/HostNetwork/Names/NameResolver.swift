import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel

/// Asks name servers for addresses, a bounded number of questions at once, and keeps answers as long as they hold.
///
/// Lives on its event loop only.
final class NameResolver {
    /// Where to ask.
    struct Servers: Sendable {
        var addresses: [IPv4Address]
        var port: UInt16
        var route: NameServerRoute
    }

    /// What is known of a name.
    struct Answer: Sendable, Equatable {
        var code: DNSCode
        var addresses: [IPv4Address]
        var seconds: UInt32

        static let failure = Answer(code: .serverFailure, addresses: [], seconds: 0)
    }

    static let maxQuestions = 128
    static let maxKept = 1024
    /// Questions asked for one name at the most: each server is asked twice, but no more often than this.
    static let maxAttempts = 4
    /// For all questions of one lookup: less than the five seconds after which clients ask again themselves.
    static let patience = TimeAmount.milliseconds(4600)
    /// Longest an answer is kept, and one that there is nothing.
    static let maxSeconds: UInt32 = 300
    static let maxNegativeSeconds: UInt32 = 30

    private let loop: any EventLoop
    private let jobs: LoopJobs
    private var servers: Servers
    private var kept: [String: (answer: Answer, expires: NIODeadline)] = [:]
    private var asking: [String: EventLoopFuture<Answer>] = [:]
    /// Answers of servers that are no longer asked are not kept.
    private var generation = 0

    init(loop: any EventLoop, jobs: LoopJobs, servers: Servers) {
        self.loop = loop
        self.jobs = jobs
        self.servers = servers
    }

    func replace(_ servers: Servers) {
        self.servers = servers
        generation += 1
        kept.removeAll()
        asking.removeAll()
    }

    /// Whether a name can be answered without asking anyone.
    func knows(_ name: String) -> Bool { kept[name].map { $0.expires > .now() } ?? false }

    /// The addresses of a name; never fails, but may say so.
    ///
    /// Preconditions: `name` is normalized.
    func resolve(_ name: String) -> EventLoopFuture<Answer> {
        let now = NIODeadline.now()
        if let known = kept[name], known.expires > now {
            var answer = known.answer
            answer.seconds = UInt32(clamping: (known.expires - now).nanoseconds / 1_000_000_000)
            return loop.makeSucceededFuture(answer)
        }
        if let running = asking[name] { return running }
        guard asking.count < NameResolver.maxQuestions, !servers.addresses.isEmpty, !jobs.isStopped else {
            return loop.makeSucceededFuture(.failure)
        }
        let current = generation
        let answer = ask(name, attempt: 0)
        asking[name] = answer
        answer.assumeIsolated().whenSuccess { answer in
            guard current == self.generation else { return }
            self.asking[name] = nil
            self.keep(answer, of: name)
        }
        return answer
    }

    private func keep(_ answer: Answer, of name: String) {
        guard answer.code != .serverFailure, answer.seconds > 0 else { return }
        let now = NIODeadline.now()
        if kept.count >= NameResolver.maxKept {
            kept = kept.filter { $0.value.expires > now }
            if kept.count >= NameResolver.maxKept { kept.removeAll(keepingCapacity: true) }
        }
        kept[name] = (answer, now + .seconds(Int64(answer.seconds)))
    }

    private var attempts: Int { min(NameResolver.maxAttempts, servers.addresses.count * 2) }
    private var patienceForOne: TimeAmount { .nanoseconds(NameResolver.patience.nanoseconds / Int64(max(1, attempts))) }

    private func ask(_ name: String, attempt: Int) -> EventLoopFuture<Answer> {
        guard attempt < attempts, !jobs.isStopped else { return loop.makeSucceededFuture(.failure) }
        let server = servers.addresses[attempt % servers.addresses.count]
        let asked = question(name, to: server).assumeIsolated().flatMap { response in
            response.isTruncated ? self.streamQuestion(name, to: server) : self.loop.makeSucceededFuture(response)
        }
        return asked.map { (response: DNSResponse) -> Answer? in NameResolver.answer(response) }
            .flatMapError { _ in self.loop.makeSucceededFuture(nil) }
            .flatMap { answer in
                answer.map { self.loop.makeSucceededFuture($0) } ?? self.ask(name, attempt: attempt + 1)
            }.nonisolated()
    }

    /// What a response means; nil where another server should be asked.
    private static func answer(_ response: DNSResponse) -> Answer? {
        switch response.code {
        case .noError, .noSuchName:
            let isEmpty = response.addresses.isEmpty
            return Answer(
                code: isEmpty ? response.code : .noError, addresses: response.addresses,
                seconds: min(response.seconds, isEmpty ? maxNegativeSeconds : maxSeconds))
        case .formatError, .serverFailure, .notImplemented, .refused: return nil
        }
    }

    // MARK: One question

    private func question(_ name: String, to server: IPv4Address) -> EventLoopFuture<DNSResponse> {
        let id = UInt16.random(in: .min ... .max)
        guard let remote = try? SocketAddress.of(server, port: servers.port) else {
            return loop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        let (route, port) = (servers.route, servers.port)
        let socket = jobs.run { try await route.datagramSocket(to: server, port: port) }
        return open(socket) { descriptor, answer in
            DatagramBootstrap(group: self.loop)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            NameServerQuestion(name: name, id: id, server: remote, answer: answer))
                    }
                }
                .withBoundSocket(descriptor.release())
                .assumeIsolated().map { channel in
                    let query = ByteBuffer(bytes: DNSQuery.forAddresses(of: name, id: id))
                    channel.writeAndFlush(AddressedEnvelope(remoteAddress: remote, data: query), promise: nil)
                    return channel
                }.nonisolated()
        }
    }

    private func streamQuestion(_ name: String, to server: IPv4Address) -> EventLoopFuture<DNSResponse> {
        let id = UInt16.random(in: .min ... .max)
        let loop = loop
        let port = servers.port
        let connected: @Sendable (EventLoopPromise<DNSResponse>) -> ClientBootstrap = { answer in
            ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            NameServerStreamQuestion(name: name, id: id, answer: answer))
                    }
                }
        }
        let send: @Sendable (any Channel) -> any Channel = { channel in
            let query = DNSQuery.forAddresses(of: name, id: id)
            var buffer = ByteBuffer(integer: UInt16(query.count))
            buffer.writeBytes(query)
            channel.writeAndFlush(buffer, promise: nil)
            return channel
        }
        switch servers.route {
        case .host:
            let address = loop.makeCompletedFuture { try SocketAddress.of(server, port: port) }
            return open(address) { address, answer in connected(answer).connect(to: address).map(send) }
        case .slot(let connector):
            let socket = jobs.run { try await connector.connect(to: server, port: port, timeout: .seconds(2)) }
            return open(socket) { descriptor, answer in
                connected(answer).withConnectedSocket(descriptor.release()).map(send)
            }
        }
    }

    /// Opens a channel for one answer, and sees that it is closed and the answer decided in time.
    private func open<Resource: Sendable>(
        _ resource: EventLoopFuture<Resource>,
        _ body: @escaping (Resource, EventLoopPromise<DNSResponse>) -> EventLoopFuture<any Channel>
    ) -> EventLoopFuture<DNSResponse> {
        let answer = loop.makePromise(of: DNSResponse.self)
        resource.assumeIsolated().flatMap { body($0, answer) }.whenComplete { result in
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
