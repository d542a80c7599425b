import CLinux
import Dispatch
import Glibc
import GuestProtocol
import LinuxSystem

/// A plain host end of the guest protocol; it blocks on a queue of its own, never on the tests' threads.
actor TestClient {
    struct Silence: Error {}
    struct Unexpected: Error { var frame: Frame }

    /// What a finished program left behind.
    struct Outcome {
        var pid: Int32 = 0
        var standardOutput: [UInt8] = []
        var standardError: [UInt8] = []
        var exit: ProcessExit
        var text: String { String(decoding: standardOutput, as: UTF8.self) }
        var errorText: String { String(decoding: standardError, as: UTF8.self) }
    }

    static let window: UInt32 = 1 << 20
    private let executor = QueueExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let descriptor: Descriptor
    private var decoder = FrameDecoder(hunting: true)
    private var lastStream: UInt32 = 0
    private var waiting: [UInt32: [Frame]] = [:]
    private var inputCredit: [UInt32: Int] = [:]

    init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    // MARK: Connecting

    /// Starts afresh: nothing that was under way is heard of again.
    func synchronize(flush: Bool = false) throws {
        var nonce = [UInt8](repeating: 0, count: SyncMarker.nonceLength)
        for index in nonce.indices { nonce[index] = .random(in: 0...255) }
        if flush { try write([UInt8](repeating: 0, count: SyncMarker.flushLength)) }
        try write(SyncMarker.bytes(nonce: nonce))
        decoder = FrameDecoder(hunting: true)
        waiting = [:]
        while true {
            if let item = decoder.next() {
                if item == .sync(nonce: nonce) { return }
            } else {
                try fill()
            }
        }
    }

    func close() { descriptor.close() }

    /// Loses so many bytes of what the agent sent.
    func skip(_ count: Int) throws {
        decoder = FrameDecoder(hunting: true)
        waiting = [:]
        var left = count
        while left > 0 {
            guard clinux_poll_one(descriptor.number, Int16(POLLIN), 60_000) > 0 else { throw Silence() }
            let bytes = try descriptor.read(upTo: min(left, 65_536))
            guard !bytes.isEmpty else { throw Silence() }
            left -= bytes.count
        }
    }

    /// Reads nothing until the agent cannot send any more.
    func waitUntilFull() throws {
        var last: Int32 = -1
        while true {
            var pending: Int32 = 0
            guard ioctl(descriptor.number, UInt(FIONREAD), &pending) == 0 else { throw Silence() }
            if pending == last, pending > 65_536 { return }
            last = pending
            _ = clinux_poll_one(-1, 0, 50)
        }
    }

    /// Takes over; tells how many bytes came before the answer.
    func synchronizeCounting() throws -> Int {
        let nonce = (0..<SyncMarker.nonceLength).map { _ in UInt8.random(in: 0...255) }
        try write([UInt8](repeating: 0, count: SyncMarker.flushLength) + SyncMarker.bytes(nonce: nonce))
        decoder = FrameDecoder(hunting: true, nonce: nonce)
        waiting = [:]
        var count = 0
        while true {
            if let item = decoder.next() {
                guard item == .sync(nonce: nonce) else { throw Silence() }
                return count - SyncMarker.length - decoder.pendingBytes
            }
            guard clinux_poll_one(descriptor.number, Int16(POLLIN), 60_000) > 0 else { throw Silence() }
            let bytes = try descriptor.read(upTo: 65_536)
            count += bytes.count
            decoder.append(bytes)
        }
    }

    // MARK: Frames

    func write(_ bytes: [UInt8]) throws { try descriptor.writeAll(bytes) }

    func send(_ frame: Frame) throws {
        var bytes: [UInt8] = []
        frame.encode(into: &bytes)
        try write(bytes)
    }

    func open(_ operation: Operation, window: UInt32 = TestClient.window, _ message: (any WireMessage)? = nil) throws
        -> UInt32
    {
        lastStream += 1
        let request = OpenRequest(operation, window: window, body: message?.encoded ?? [])
        try send(Frame(stream: lastStream, kind: .open, payload: request.encoded))
        return lastStream
    }

    func cancel(_ stream: UInt32) throws { try send(Frame(stream: stream, kind: .cancel)) }

    /// The next frame of a stream; credit the host gives is taken note of on the way.
    func next(_ stream: UInt32) throws -> Frame {
        while true {
            if let frame = takeWaiting(stream) { return frame }
            try readFrame()
        }
    }

    private func takeWaiting(_ stream: UInt32) -> Frame? {
        guard let frame = waiting[stream]?.first else { return nil }
        waiting[stream]?.removeFirst()
        return frame
    }

    private func readFrame() throws {
        while true {
            switch decoder.next() {
            case .frame(let frame):
                if frame.kind == .credit {
                    var reader = WireReader(frame.payload)
                    inputCredit[frame.stream, default: 0] += Int(try reader.u32())
                } else {
                    waiting[frame.stream, default: []].append(frame)
                }
                return
            case .sync, .lost: throw Silence()
            case nil: try fill()
            }
        }
    }

    private func fill() throws {
        // Only a hang ends here; nothing waits for it when all is well.
        guard clinux_poll_one(descriptor.number, Int16(POLLIN), 60_000) > 0 else { throw Silence() }
        let bytes = try descriptor.read(upTo: 65_536)
        guard !bytes.isEmpty else { throw Silence() }
        decoder.append(bytes)
    }

    // MARK: Requests

    /// An operation that has one answer.
    func request(_ operation: Operation, _ message: (any WireMessage)? = nil) throws -> [UInt8] {
        try result(open(operation, message))
    }

    func request<T: WireMessage>(_ operation: Operation, _ message: (any WireMessage)? = nil, as type: T.Type) throws
        -> T
    {
        try T(decoding: request(operation, message))
    }

    /// The stream's end, or its failure thrown.
    func result(_ stream: UInt32) throws -> [UInt8] {
        let frame = try next(stream)
        switch frame.kind {
        case .end: return frame.payload
        case .fail: throw try GuestFailure(decoding: frame.payload)
        default: throw Unexpected(frame: frame)
        }
    }

    /// The failure of an operation, or nil if it went well.
    func failure(_ operation: Operation, _ message: (any WireMessage)? = nil) throws -> GuestFailure? {
        do {
            _ = try request(operation, message)
            return nil
        } catch let error as GuestFailure {
            return error
        }
    }

    /// Starts a process: its stream and pid.
    func start(_ process: StartProcess, window: UInt32 = TestClient.window) throws -> (stream: UInt32, pid: Int32) {
        let stream = try open(.startProcess, window: window, process)
        return (stream, try started(stream))
    }

    /// The pid a stream's reply tells.
    func started(_ stream: UInt32) throws -> Int32 {
        let frame = try next(stream)
        if frame.kind == .fail { throw try GuestFailure(decoding: frame.payload) }
        guard frame.kind == .reply else { throw Unexpected(frame: frame) }
        return try ProcessStarted(decoding: frame.payload).pid
    }

    /// Reads a process stream to its end, giving back the credit it uses.
    func finish(_ stream: UInt32, pid: Int32 = 0) throws -> Outcome {
        var outcome = Outcome(
            pid: pid,
            exit: ProcessExit(
                code: -1, signal: 0, timedOut: false, wallMicroseconds: 0, userMicroseconds: 0, systemMicroseconds: 0,
                maxResidentBytes: 0, outputBytes: 0))
        while true {
            let frame = try next(stream)
            switch frame.kind {
            case .data:
                let data = try OutputData(decoding: frame.payload)
                if frame.flags == OutputChannel.standardError.rawValue {
                    outcome.standardError += data.bytes
                } else {
                    outcome.standardOutput += data.bytes
                }
                try send(.credit(stream: stream, bytes: UInt32(frame.payload.count)))
            case .end:
                outcome.exit = try ProcessExit(decoding: frame.payload)
                return outcome
            case .fail: throw try GuestFailure(decoding: frame.payload)
            default: throw Unexpected(frame: frame)
            }
        }
    }

    /// Runs a program to its end.
    func run(_ process: StartProcess) throws -> Outcome {
        let started = try start(process)
        return try finish(started.stream, pid: started.pid)
    }

    func run(_ arguments: String...) throws -> Outcome { try run(StartProcess(arguments: arguments)) }

    /// Sends data as credit allows, then the end.
    func sendInput(_ stream: UInt32, _ bytes: [UInt8], ends: Bool = true) throws {
        var offset = 0
        while offset < bytes.count {
            while inputCredit[stream, default: 0] == 0 {
                if let frame = waiting[stream]?.first, frame.kind == .fail { throw Unexpected(frame: frame) }
                try readFrame()
            }
            let count = min(bytes.count - offset, Frame.dataChunk, inputCredit[stream, default: 0])
            inputCredit[stream, default: 0] -= count
            try send(Frame(stream: stream, kind: .data, payload: Array(bytes[offset..<offset + count])))
            offset += count
        }
        if ends { try send(Frame(stream: stream, kind: .end)) }
    }

    /// The data of a stream up to its end.
    func collect(_ stream: UInt32) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let frame = try next(stream)
            switch frame.kind {
            case .reply: continue
            case .data:
                bytes += frame.payload
                try send(.credit(stream: stream, bytes: UInt32(frame.payload.count)))
            case .end: return bytes
            case .fail: throw try GuestFailure(decoding: frame.payload)
            default: throw Unexpected(frame: frame)
            }
        }
    }

    func writeFile(_ message: WriteFile, _ bytes: [UInt8]) throws -> FileInfo {
        let stream = try open(.writeFile, message)
        try sendInput(stream, bytes)
        return try FileInfo(decodingWithLabels: result(stream))
    }
}

/// Runs an actor on a queue of its own, where it may wait.
private final class QueueExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "test client")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
