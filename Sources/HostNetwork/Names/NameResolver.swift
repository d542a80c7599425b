import NIOCore
import SandboxModel

/// Asks name servers for addresses, a bounded number of questions at once, and keeps answers as long as they hold.
///
/// Lives on its event loop only.
final class NameResolver {
    /// What is known of a name.
    struct Answer: Sendable, Equatable {
        var code: DNSCode
        var addresses: [IPv4Address]
        var seconds: UInt32

        static let failure = Answer(code: .serverFailure, addresses: [], seconds: 0)
    }

    static let maxQuestions = 128
    static let maxKept = 1024
    /// Longest an answer is kept, and one that there is nothing.
    static let maxSeconds: UInt32 = 300
    static let maxNegativeSeconds: UInt32 = 30

    private let loop: any EventLoop
    private let client: NameServerClient
    private var kept: [String: (answer: Answer, expires: NIODeadline)] = [:]
    private var asking: [String: EventLoopFuture<Answer>] = [:]
    private var passingOn = 0
    /// Answers of servers that are no longer asked are not kept.
    private var generation = 0

    init(loop: any EventLoop, jobs: LoopJobs, servers: NameServerClient.Servers) {
        self.loop = loop
        client = NameServerClient(loop: loop, jobs: jobs, servers: servers)
    }

    func replace(_ servers: NameServerClient.Servers) {
        client.servers = servers
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
        guard asking.count < NameResolver.maxQuestions else { return loop.makeSucceededFuture(.failure) }
        let current = generation
        let answer = client.ask(.addresses(of: name), use: NameResolver.use).map { $0 ?? .failure }
        asking[name] = answer
        answer.assumeIsolated().whenSuccess { answer in
            guard current == self.generation else { return }
            self.asking[name] = nil
            self.keep(answer, of: name)
        }
        return answer
    }

    /// Other records of a name, as the name server gives them; nil where it gives none.
    ///
    /// Preconditions: `name` is normalized.
    func records(of name: String, type: UInt16) -> EventLoopFuture<DNSRecords?> {
        guard passingOn < NameResolver.maxQuestions else { return loop.makeSucceededFuture(nil) }
        passingOn += 1
        let records = client.ask(.records(of: name, type: type)) { (answer: DNSRecords) -> DNSRecords? in
            answer.code == .noError || answer.code == .noSuchName ? answer : nil
        }
        records.assumeIsolated().whenComplete { _ in self.passingOn -= 1 }
        return records
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

    /// What a response means; nil where another server should be asked.
    @Sendable private static func use(_ response: DNSResponse) -> Answer? {
        switch response.code {
        case .noError, .noSuchName:
            let isEmpty = response.addresses.isEmpty
            return Answer(
                code: isEmpty ? response.code : .noError, addresses: response.addresses,
                seconds: min(response.seconds, isEmpty ? maxNegativeSeconds : maxSeconds))
        case .formatError, .serverFailure, .notImplemented, .refused: return nil
        }
    }
}
