import FoundationEssentials
import MartletAPI
import SandboxModel

/// What a process in a sandbox does, in the order in which it did it.
public enum ProcessEvent: Sendable {
    /// Which of its outputs a process wrote to; a terminal has `stdout` only.
    public enum Channel: String, Sendable {
        case stdout, stderr
    }

    /// It wrote these bytes.
    case output(Channel, [UInt8])
    /// This many bytes it wrote were dropped before they could be read, being over what is kept for replay.
    case lost(bytes: UInt64)
    /// It has ended; the last event.
    case exit(ProcessExitResource)
}

/// A process's output and end, replayed from any offset and then followed.
///
/// A connection that breaks off is taken up again at the byte where it broke, for as long as the configuration's
/// `reconnectTimeout` allows, so that a restart of the daemon is not noticed. Events are read at the caller's pace.
public struct ProcessEvents: AsyncSequence, Sendable {
    public typealias Element = ProcessEvent
    let transport: HTTPTransport
    let call: APICall
    let from: UInt64

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(transport: transport, call: call, offset: from) }

    /// Reads the events; each iterator is a request of its own.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private let transport: HTTPTransport
        private let call: APICall
        private var reader: EventStreamReader?
        private var queued: ProcessEvent?
        private var hasConnected = false
        private var isFinished = false
        private var reconnect = Reconnect()
        /// What the server last ended the stream with. The daemon's ending and the sandbox's look alike, and only the
        /// next attempt tells them apart; if it fails for good, this is what the caller wants to know.
        private var streamed: MartletError?
        /// Where the next byte will be; what to ask for after a break.
        public private(set) var offset: UInt64

        init(transport: HTTPTransport, call: APICall, offset: UInt64) {
            self.transport = transport
            self.call = call
            self.offset = offset
        }

        public mutating func next() async throws -> ProcessEvent? {
            while !isFinished {
                if let event = queued {
                    queued = nil
                    return event
                }
                do {
                    if reader == nil { try await connect() }
                    guard let event = try await nextEvent() else {
                        throw MartletError(
                            .unavailable, "\(HTTPTransport.name(call)): the stream ended before the process",
                            details: ["reason": HTTPTransport.broken])
                    }
                    reconnect = Reconnect()
                    streamed = nil
                    if let known = try understand(event) { return known }
                } catch {
                    try await takeUpAgain(after: transport.translate(error, call))
                }
            }
            return nil
        }

        private mutating func nextEvent() async throws -> ServerSentEvent? {
            do {
                return try await reader?.next()
            } catch let error as MartletError where error.code == .unavailable {
                streamed = error
                throw error
            }
        }

        private mutating func connect() async throws {
            var call = call
            call.query.append(("from", String(offset)))
            reader = EventStreamReader(try await transport.send(call))
            hasConnected = true
        }

        /// Waits before the next attempt, or throws when the error is for good or has lasted too long.
        private mutating func takeUpAgain(after error: any Error) async throws {
            reader = nil
            let canPass = (error as? MartletError)?.code == .unavailable
            guard hasConnected, canPass, let delay = reconnect.next(within: transport.configuration.reconnectTimeout)
            else {
                isFinished = true
                throw error is CancellationError ? error : streamed ?? error
            }
            try await Task.sleep(for: delay)
        }

        /// The event for the caller; nil for bytes already seen and for kinds this client does not know.
        private mutating func understand(_ event: ServerSentEvent) throws -> ProcessEvent? {
            do {
                if let channel = ProcessEvent.Channel(rawValue: event.name) {
                    return output(channel, try JSONDecoder().decode(OutputEvent.self, from: Data(event.data)))
                }
                guard event.name == "exit" else { return nil }
                let exit = try JSONDecoder().decode(ProcessExitResource.self, from: Data(event.data))
                isFinished = true
                return .exit(exit)
            } catch {
                throw MartletError(.internal, "event stream: '\(event.name)' is not what this client knows: \(error)")
            }
        }

        private mutating func output(_ channel: ProcessEvent.Channel, _ event: OutputEvent) -> ProcessEvent? {
            var bytes: [UInt8] = []
            if let text = event.text {
                bytes = Array(text.utf8)
            } else if let data = event.base64.flatMap({ Data(base64Encoded: $0) }) {
                bytes = Array(data)
            }
            let lost = event.offset > offset ? event.offset - offset : 0
            let seen = event.offset < offset ? offset - event.offset : 0
            if seen >= UInt64(bytes.count) { return nil }
            bytes.removeFirst(Int(seen))
            offset += lost + UInt64(bytes.count)
            guard lost > 0 else { return .output(channel, bytes) }
            queued = .output(channel, bytes)
            return .lost(bytes: lost)
        }
    }
}

/// How long to wait between attempts to take a stream up again: there is no event for a server that comes back.
private struct Reconnect {
    private var began: ContinuousClock.Instant?
    private var delay = Duration.milliseconds(50)

    /// The next wait; nil when the time is over.
    mutating func next(within limit: Duration) -> Duration? {
        let now = ContinuousClock.now
        let start = began ?? now
        began = start
        guard now - start < limit else { return nil }
        defer { delay = min(delay * 2, .seconds(1)) }
        return delay
    }
}
