import ControlPlane
import GuestClient
import LinuxSystem
import Logging
import Metrics
import NIOCore
import NIOHTTP1
import SandboxModel

/// Serves what was taken out of clients' connections: lets visitors in, connects them to the sandbox's port, and carries
/// bytes until either side ends.
struct Previews: Sendable {
    let ports: Ports
    /// Who else may come in, by E2B's rule.
    let gate: TrafficGate
    /// nil trusts everyone: who may open the unix socket is decided by its file.
    let keys: Keys?
    /// What clients use to reach us.
    let scheme: String
    let logger: Logger

    /// Answers one request; whatever comes of it, the connection is told.
    func serve(_ exchange: PreviewExchange) async {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await work(on: exchange) }
                group.addTask {
                    try await exchange.hasLeft.wait()
                    throw ClientLeft()
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch {
            logger.debug("a preview was cut off", metadata: ["request.id": "\(exchange.requestID)", "why": "\(error)"])
            exchange.abort()
        }
    }

    private func work(on exchange: PreviewExchange) async throws {
        let start = Clocks.monotonicNanoseconds
        let output = PreviewOutput(exchange)
        var outcome = "ok"
        defer {
            let dimensions = [("kind", exchange.kind), ("outcome", outcome)]
            Counter(label: "preview_requests_total", dimensions: dimensions).increment()
            Timer(label: "preview_request_duration_seconds", dimensions: [("kind", exchange.kind)])
                .recordNanoseconds(Clocks.monotonicNanoseconds - start)
        }
        do {
            exchange.complete(keepsAlive: try await answer(exchange, output))
        } catch {
            let known = (error as? AnswerError).map(Previews.badAnswer) ?? ErrorResponse.martletError(error)
            outcome = known.code.rawValue
            // Half an answer must not be taken for a whole one.
            guard !output.hasBegun, !Task.isCancelled, !(error is ClientLeft) else { throw error }
            if known.code == .internal {
                logger.error(
                    "preview failed", metadata: ["request.id": "\(exchange.requestID)", "error": "\(error)"])
            }
            let keepsAlive = HopByHop.keepsAlive(exchange.head) && !exchange.asksForUpgrade
            let page = PreviewPage.answer(
                known, to: exchange.head, keepsAlive: keepsAlive, requestID: exchange.requestID,
                place: exchange.place.flatMap { gate.speaksE2B($0) ? $0 : nil })
            try await exchange.write(page)
            exchange.complete(keepsAlive: keepsAlive)
        }
    }

    private static func badAnswer(_ error: AnswerError) -> MartletError {
        MartletError(
            .unavailable, "port: what the sandbox answered is no HTTP: \(error.what)", details: ["reason": "bad_answer"]
        )
    }

    /// - Returns: whether the connection may take another request.
    private func answer(_ exchange: PreviewExchange, _ output: PreviewOutput) async throws -> Bool {
        switch exchange.decision {
        case .api: throw MartletError(.internal, "preview: a request of the API's was taken")
        case .refused(let error): throw error
        case .taken(.tunnel(let sandbox), let query): return try await tunnel(exchange, output, sandbox, query)
        case .taken(.preview(let place), let target):
            return try await preview(exchange, output, place, target)
        }
    }

    // MARK: Tunnels

    private func tunnel(
        _ exchange: PreviewExchange, _ output: PreviewOutput, _ sandbox: String, _ queryText: String
    ) async throws -> Bool {
        let secrets = PreviewSecrets(target: "", headers: exchange.head.headers)
        guard let caller = caller(presenting: secrets.keys) else {
            throw MartletError(
                .unauthenticated, "authenticate: no API key that is valid was sent; send 'Authorization: Bearer <key>'")
        }
        let query = try Query(queryText, names: ["port"])
        guard let port = UInt16(try query.required("port")), port > 0 else {
            throw MartletError.invalid("port", "must be from 1 to 65535")
        }
        let wanted = exchange.head.headers[canonicalForm: "upgrade"].map { $0.lowercased() }
        guard exchange.asksForUpgrade, wanted.contains(PreviewRouting.tunnelProtocol) else {
            throw MartletError(
                .invalidArgument,
                "tunnel: ask for it with 'Connection: Upgrade' and 'Upgrade: \(PreviewRouting.tunnelProtocol)'",
                details: ["reason": PreviewPage.upgradeRequired])
        }
        let socket = try await ports.tunnel(sandbox, port: port, caller: caller)
        let headers: HTTPHeaders = [
            "Connection": "Upgrade", "Upgrade": PreviewRouting.tunnelProtocol, "X-Request-Id": exchange.requestID,
        ]
        try await output.upgrade(try ForwardedAnswer.text(.switchingProtocols, headers))
        try await PreviewPump.run(exchange, socket)
        return false
    }

    private func caller(presenting presented: [String]) -> Caller? {
        guard let keys else { return .local }
        return presented.lazy.compactMap { keys.caller(presenting: $0) }.first
    }

    // MARK: Previews

    private func preview(
        _ exchange: PreviewExchange, _ output: PreviewOutput, _ place: PreviewPlace, _ target: String
    ) async throws -> Bool {
        let secrets = PreviewSecrets(target: target, headers: exchange.head.headers)
        let caller: Caller? = if case .path = place.form { caller(presenting: secrets.keys) } else { nil }
        let passage = gate.passage(to: place, tokens: secrets.sandboxTokens)
        if let passage, passage.holdsToken { return try await relay(exchange, output, place, secrets, passage) }
        let visit = PortVisit(sandbox: place.sandbox, port: place.port, tokens: secrets.tokens, caller: caller)
        let admission: PortAdmission
        do {
            admission = try ports.admit(visit)
        } catch let error where error.details["reason"] == "not_published" {
            // Who publishes a port decides who may visit it; E2B's rule is for all others.
            guard let passage else { throw gate.speaksE2B(place) ? TrafficGate.tokenMissing(place) : error }
            return try await relay(exchange, output, place, secrets, passage)
        }
        if let token = admission.token, secrets.hasQueryToken, place.form != .headers, isPageView(exchange) {
            let page = try PreviewCookie(place: place, scheme: scheme, expiresAt: admission.expiresAt)
                .redirect(setting: token, to: secrets.target, host: exchange.head.headers.first(name: "host"))
            try await exchange.write(page)
            return HopByHop.keepsAlive(exchange.head)
        }
        let request = try forwarded(exchange, place, secrets)
        return try await whileAdmitted(admission) {
            let socket = try await ports.enter(admission)
            let relay = PreviewRelay(
                exchange: exchange, output: output, socket: socket, request: request, place: place)
            return try await relay.run()
        }
    }

    /// Serves one who is let in by E2B's rule.
    private func relay(
        _ exchange: PreviewExchange, _ output: PreviewOutput, _ place: PreviewPlace, _ secrets: PreviewSecrets,
        _ passage: TrafficGate.Passage
    ) async throws -> Bool {
        let request = try forwarded(exchange, place, secrets)
        let socket = try await gate.enter(passage, port: place.port)
        return try await PreviewRelay(
            exchange: exchange, output: output, socket: socket, request: request, place: place
        ).run()
    }

    private func forwarded(
        _ exchange: PreviewExchange, _ place: PreviewPlace, _ secrets: PreviewSecrets
    ) throws(MartletError) -> ForwardedRequest {
        try ForwardedRequest(
            exchange.head, secrets: secrets, form: place.form, port: place.port, isUpgrade: exchange.asksForUpgrade,
            scheme: scheme, client: exchange.client)
    }

    /// Whether a person's browser opens a page: only then is a token moved from its address into a cookie.
    private func isPageView(_ exchange: PreviewExchange) -> Bool {
        (exchange.head.method == .GET || exchange.head.method == .HEAD) && !exchange.asksForUpgrade
            && PreviewPage.isBrowser(exchange.head)
    }

    /// Works for as long as the visit is allowed: until the port is taken back or the visitor's token expires.
    private func whileAdmitted(
        _ admission: PortAdmission, _ work: @escaping @Sendable () async throws -> Bool
    ) async throws -> Bool {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await admission.ended.wait()
                throw admission.overError("it is not published any more", reason: "not_published")
            }
            if let end = admission.expiresAt {
                group.addTask {
                    // On the wall clock, which may be set: looked at anew now and then.
                    while end > .now {
                        let left = end.milliseconds - Timestamp.now.milliseconds
                        try await Task.sleep(for: .milliseconds(min(max(left, 1), 60_000)))
                    }
                    throw admission.overError("its time is over", reason: "token_expired")
                }
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }
}

/// What is sent for an exchange, and whether any of it was: after that no other answer can be given.
final class PreviewOutput: Sendable {
    private let exchange: PreviewExchange
    private let begun = Latch()

    init(_ exchange: PreviewExchange) { self.exchange = exchange }

    var hasBegun: Bool { begun.isOpen }

    func write(_ bytes: ByteBuffer) async throws {
        begun.open()
        try await exchange.write(bytes)
    }

    func upgrade(_ answer: ByteBuffer) async throws {
        begun.open()
        try await exchange.upgrade(answer)
    }
}

extension PreviewExchange {
    /// For the numbers: a fixed set of words.
    fileprivate var kind: String {
        switch decision {
        case .taken(.preview(let place), _):
            switch place.form {
            case .host: "host"
            case .path: "path"
            case .headers: "headers"
            }
        case .taken(.tunnel, _): "tunnel"
        case .refused, .api: "refused"
        }
    }

    /// What is visited.
    fileprivate var place: PreviewPlace? {
        if case .taken(.preview(let place), _) = decision { place } else { nil }
    }
}

extension PortAdmission {
    fileprivate func overError(_ why: String, reason: String) -> MartletError {
        MartletError(
            reason == "not_published" ? .notFound : .unauthenticated, "port: \(port) of sandbox \(sandbox): \(why)",
            details: ["sandbox": sandbox.rawValue, "port": "\(port)", "reason": reason])
    }
}
