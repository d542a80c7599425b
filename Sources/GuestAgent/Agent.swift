import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// The guest agent: answers the host over one byte stream, on one thread, until the stream ends for good.
///
/// Not sendable: it is made, run and dropped on one thread.
package final class Agent: TransportDelegate {
    private let configuration: AgentConfiguration
    private let loop: EventLoop
    private let transport: Transport
    private let users: Users
    private let files: FileService
    private let processes: ProcessTable
    private let programs: HeldPrograms?
    private let services: ServiceSupervisor
    private let thawing: ThawService
    private let metrics: MetricsReader
    private let memory: MemoryGuard?
    private var hosts: Watch?
    private var isPoweringOff = false
    private static let kernelRelease: String = {
        let bytes = (try? Descriptor.open("/proc/sys/kernel/osrelease", O_RDONLY).readAll(limit: 256)) ?? []
        return String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
    }()

    /// Takes over the configuration's descriptor.
    package init(_ configuration: AgentConfiguration) throws(SystemError) {
        // A closed pipe is an answer, not a reason to die.
        signal(SIGPIPE, SIG_IGN)
        self.configuration = configuration
        loop = try EventLoop()
        transport = try Transport(
            descriptor: configuration.descriptor, output: configuration.output,
            endsAtHangup: configuration.endsAtHangup, loop: loop)
        users = Users()
        files = FileService(users: users)
        let holds = configuration.holdsPrograms
        programs = configuration.controlGroup.flatMap { holds ? HeldPrograms(controlGroup: $0) : nil }
        metrics = MetricsReader(allotment: configuration.allotment)
        processes = try ProcessTable(
            configuration: configuration, loop: loop, transport: transport, users: users, programs: programs)
        services = ServiceSupervisor(
            processes: processes, loop: loop, log: configuration.log, delays: configuration.restartDelays)
        thawing = ThawService(
            configuration: configuration, processes: processes, programs: programs, services: services)
        let (loop, log) = (loop, configuration.log)
        memory =
            configuration.guardsMemory
            ? configuration.controlGroup.flatMap { MemoryGuard(controlGroup: $0, loop: loop, log: log) } : nil
        transport.delegate = self
        if let listener = configuration.listener {
            hosts = try loop.watch(listener, UInt32(CLINUX_EVENT_READ)) { [unowned self] _ in takeHost(listener) }
        }
    }

    /// A host has connected; an earlier one is served no more, for it is the same one, started anew.
    private func takeHost(_ listener: Int32) {
        let connection = clinux_accept(listener)
        guard connection >= 0 else { return }
        guard configuration.admitsHost(connection) else {
            close(connection)
            return
        }
        do throws(SystemError) {
            try transport.take(connection)
        } catch {
            configuration.log("a host cannot be served: \(error)")
        }
    }

    /// Serves until the stream ends; the processes it started are killed then.
    package func run() {
        while !transport.hasEnded {
            loop.turn(poll: transport.isBusy)
            transport.readAvailable()
            transport.writeAvailable()
            if transport.isFlushed { programs?.settle() }
            if isPoweringOff, transport.isFlushed { configuration.machine.powerOff() }
        }
        transport.dropStreams()
        processes.killAll()
        loop.clear()
    }

    func opened(_ frame: Frame) {
        do throws(GuestFailure) {
            guard transport.streamCount < configuration.maxStreams else {
                throw GuestFailure(.limitReached, "too many streams are open")
            }
            if let number = frame.payload.first, Operation(rawValue: number) == nil {
                throw GuestFailure(.unsupported, "operation \(number) is not known to this agent")
            }
            let request: OpenRequest = try decode(frame.payload)
            switch request.operation.rawValue {
            case ..<16: try openMachine(request, frame.stream)
            case ..<32: try openProcess(request, frame.stream)
            case ..<48: try openFile(request, frame.stream)
            default: try openService(request, frame.stream)
            }
        } catch {
            transport.enqueueFailure(stream: frame.stream, error)
        }
    }

    private func decode<T: WireMessage>(_ payload: [UInt8]) throws(GuestFailure) -> T {
        do throws(WireError) {
            return try T(decoding: payload)
        } catch {
            throw GuestFailure(.invalidArgument, "malformed message: \(error.what)")
        }
    }

    private func end(_ stream: UInt32, _ payload: [UInt8] = []) {
        transport.enqueue(Frame(stream: stream, kind: .end, payload: payload))
    }

    // MARK: The machine

    private func openMachine(_ request: OpenRequest, _ stream: UInt32) throws(GuestFailure) {
        switch request.operation {
        case .ping:
            let hello = GuestHello(
                generation: ProtocolGeneration.current, agentVersion: AgentVersion.string,
                kernel: Agent.kernelRelease, uptimeMilliseconds: metrics.uptimeMilliseconds)
            end(stream, hello.encoded)
        case .thaw: end(stream, thawing.thaw(try decode(request.body)).encoded)
        case .freeze:
            do throws(SystemError) {
                try configuration.machine.synchronize()
            } catch {
                throw GuestFailure(error)
            }
            end(stream)
        case .metrics: end(stream, metrics.read().encoded)
        case .powerOff:
            try? configuration.machine.synchronize()
            isPoweringOff = true
            end(stream)
        case .hold: end(stream, hold(try decode(request.body)).encoded)
        case .release:
            thawing.forget()
            programs?.release()
            end(stream)
        default: throw GuestFailure(.unsupported, "\(request.operation) is not known to this agent")
        }
    }

    private func hold(_ request: Hold) -> Held {
        // Programs first: what they would write after the flush would not be in it.
        let frozen = programs?.hold(timeoutMilliseconds: request.timeoutMilliseconds) ?? false
        if frozen, request.surveys { thawing.prepare() }
        guard request.flush else { return Held(frozen: frozen, flushed: false) }
        do throws(SystemError) {
            try configuration.machine.synchronize()
            return Held(frozen: frozen, flushed: true)
        } catch {
            configuration.log("hold: \(error)")
            return Held(frozen: frozen, flushed: false)
        }
    }

    // MARK: Processes

    private func openProcess(_ request: OpenRequest, _ stream: UInt32) throws(GuestFailure) {
        switch request.operation {
        case .startProcess: try processes.start(decode(request.body), stream: stream, window: request.window)
        case .attachProcess: try processes.attach(decode(request.body), stream: stream, window: request.window)
        case .listProcesses: end(stream, processes.list().encoded)
        case .inspectProcess:
            let reference: ProcessReference = try decode(request.body)
            end(stream, try processes.inspect(reference.pid).encoded)
        case .signalProcess:
            try processes.signal(decode(request.body))
            end(stream)
        case .resizeTerminal:
            try processes.resize(decode(request.body))
            end(stream)
        case .writeInput: try processes.writeInput(decode(request.body), stream: stream)
        case .superviseProcess:
            end(stream, ProcessStarted(pid: try services.start(decode(request.body))).encoded)
        case .forgetProcess:
            let reference: ProcessReference = try decode(request.body)
            try processes.forget(
                reference.pid, stream: AgentStream(number: stream, window: 0, transport: transport))
        default: throw GuestFailure(.unsupported, "\(request.operation) is not known to this agent")
        }
    }

    // MARK: Files

    private func openFile(_ request: OpenRequest, _ number: UInt32) throws(GuestFailure) {
        switch request.operation {
        case .readFile:
            let stream = try ReadFileStream(
                number: number, window: request.window, transport: transport, loop: loop,
                request: decode(request.body))
            transport.add(stream)
            stream.start()
        case .writeFile:
            let stream = try WriteFileStream(
                number: number, transport: transport, users: users, request: decode(request.body))
            transport.add(stream)
            stream.start()
        case .statFile: end(number, try files.facts(decode(request.body)).withLabels)
        case .listDirectory, .listLabels:
            let stream = try ListDirectoryStream(
                number: number, window: request.window, transport: transport, request: decode(request.body),
                tellsLabels: request.operation == .listLabels)
            transport.add(stream)
            transport.markReady(stream)
        case .makeDirectory: end(number, try files.makeDirectory(decode(request.body)).encoded)
        case .moveFile: end(number, try files.move(decode(request.body)).encoded)
        case .removeFile: try openRemove(decode(request.body), number)
        case .watchFiles:
            let stream = try FileWatchStream(
                number: number, window: request.window, transport: transport, loop: loop,
                request: decode(request.body))
            transport.add(stream)
            do throws(GuestFailure) { try stream.start() } catch { stream.fail(error) }
        default: throw GuestFailure(.unsupported, "\(request.operation) is not known to this agent")
        }
    }

    private func openRemove(_ request: RemoveFile, _ number: UInt32) throws(GuestFailure) {
        do throws(GuestFailure) {
            try files.remove(request.path)
            end(number)
        } catch {
            guard error.code == .notEmpty, request.recursive else { throw error }
            let stream = try RemoveStream(number: number, transport: transport, loop: loop, path: request.path)
            transport.add(stream)
            stream.step()
        }
    }

    // MARK: Services

    private func openService(_ request: OpenRequest, _ number: UInt32) throws(GuestFailure) {
        guard request.operation == .connect else {
            throw GuestFailure(.unsupported, "\(request.operation) is not known to this agent")
        }
        guard transport.count(of: ConnectStream.self) < configuration.maxConnections else {
            throw GuestFailure(.limitReached, "connect: too many connections are open")
        }
        let stream = try ConnectStream(
            number: number, window: request.window, transport: transport, loop: loop, request: decode(request.body))
        transport.add(stream)
        stream.start()
    }
}
