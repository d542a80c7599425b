import ControlPlane
import GuestClient
import NIOCore
import NIOHTTP1
import SandboxModel

/// Carries one request to a service in a sandbox, and its answer back.
struct PreviewRelay: Sendable {
    let exchange: PreviewExchange
    let output: PreviewOutput
    let socket: GuestSocket
    let request: ForwardedRequest
    let place: PreviewPlace

    private enum Step: Sendable {
        case requestSent
        case answered(keepsAlive: Bool)
        /// Another protocol from now on; these bytes of it came already.
        case switched(ByteBuffer)
    }

    /// - Returns: whether the client's connection may take another request.
    func run() async throws -> Bool {
        let result = try await withThrowingTaskGroup(of: Step.self) { group in
            group.addTask {
                // A service that does not want the whole request may still answer: its answer tells.
                try? await sendRequest()
                return .requestSent
            }
            group.addTask { try await relayAnswer() }
            defer { group.cancelAll() }
            while let step = try await group.next() {
                if case .requestSent = step { continue }
                return step
            }
            throw CancellationError()
        }
        switch result {
        case .requestSent: throw CancellationError()
        case .answered(let keepsAlive):
            // In order, so that the service does not take it for broken off.
            socket.finishWriting()
            socket.close()
            return keepsAlive
        case .switched(let rest):
            if rest.readableBytes > 0 { try await output.write(rest) }
            try await PreviewPump.run(exchange, socket)
            return false
        }
    }

    private func sendRequest() async throws {
        try await socket.write(request.head.readableBytesView)
        guard request.framing != .none, request.framing != .length(0) else { return }
        for try await piece in exchange.input {
            guard request.framing == .chunked else {
                try await socket.write(piece.readableBytesView)
                continue
            }
            try await socket.write(PreviewRelay.chunk(piece).readableBytesView)
        }
        if request.framing == .chunked { try await socket.write(Array("0\r\n\r\n".utf8)) }
    }

    private static func chunk(_ piece: ByteBuffer) -> ByteBuffer {
        var chunk = ByteBuffer()
        chunk.reserveCapacity(piece.readableBytes + 16)
        chunk.writeString(String(piece.readableBytes, radix: 16))
        chunk.writeString("\r\n")
        chunk.writeImmutableBuffer(piece)
        chunk.writeString("\r\n")
        return chunk
    }

    private func relayAnswer() async throws -> Step {
        var parser = AnswerParser(isHeadRequest: exchange.head.method == .HEAD)
        var framing = ForwardedAnswer.Framing.asIs
        var keepsAlive = false
        while true {
            guard let item = try await nextItem(&parser) else { throw AnswerError("it ends too soon") }
            switch item {
            case .informational(let head):
                if head.status.code == 101 { return try await switchProtocols(head, &parser) }
                if exchange.head.version == .http1_1 { try await output.write(try ForwardedAnswer.informational(head)) }
            case .head(let head, let answerFraming):
                let answer = try ForwardedAnswer(
                    head, framing: answerFraming, to: exchange.head, form: place.form, port: place.port,
                    keepsAlive: HopByHop.keepsAlive(exchange.head) && !exchange.asksForUpgrade)
                framing = answer.framing
                keepsAlive = answer.keepsAlive
                try await output.write(answer.head)
            case .body(let bytes):
                try await output.write(framing == .chunked ? PreviewRelay.chunk(bytes) : bytes)
            case .end:
                if framing == .chunked { try await output.write(ByteBuffer(string: "0\r\n\r\n")) }
                return .answered(keepsAlive: keepsAlive)
            }
        }
    }

    @_optimize(none)  // The optimiser of Swift 6.3.1 fails on it; it spends its time waiting anyway.
    private func nextItem(_ parser: inout AnswerParser) async throws -> AnswerParser.Item? {
        while true {
            if let item = try parser.next() { return item }
            guard let bytes = try await socket.read() else { return try parser.finish() }
            parser.feed(bytes)
        }
    }

    private func switchProtocols(_ head: HTTPResponseHead, _ parser: inout AnswerParser) async throws -> Step {
        guard exchange.asksForUpgrade, head.headers.contains(name: "upgrade") else {
            throw AnswerError("it goes over to a protocol nobody asked for")
        }
        try await output.upgrade(
            try ForwardedAnswer.switching(head, to: exchange.head, form: place.form, port: place.port))
        return .switched(parser.takeRest())
    }
}

/// Carries bytes as they are between a client and a service; each end is closed on its own.
enum PreviewPump {
    static func run(_ exchange: PreviewExchange, _ socket: GuestSocket) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    for try await piece in exchange.input { try await socket.write(piece.readableBytesView) }
                    try Task.checkCancellation()
                    socket.finishWriting()
                } catch let error as MartletError where error.code == .failedPrecondition {
                    // The service wants no more; what it sends says how that ended.
                }
            }
            group.addTask {
                while let bytes = try await socket.read() { try await exchange.write(ByteBuffer(bytes: bytes)) }
                try await exchange.finishOutput()
            }
            defer { group.cancelAll() }
            try await group.waitForAll()
        }
    }
}
