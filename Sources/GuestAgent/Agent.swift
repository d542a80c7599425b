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
            descriptor: configuration.descriptor, endsAtHangup: configuration.endsAtHangup, loop: loop)
        users = Users()
        files = FileService(users: users)
        processes = try ProcessTable(configuration: configuration, loop: loop, transport: transport, users: users)
        transport.delegate = self
    }

    /// Serves until the stream ends; the processes it started are killed then.
    package func run() {
        while !transport.hasEnded {
            loop.turn(poll: transport.isBusy)
            transport.readAvailable()
            transport.writeAvailable()
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
            default: try openFile(request, frame.stream)
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
                kernel: Agent.kernelRelease, uptimeMilliseconds: MetricsReader.uptimeMilliseconds)
            end(stream, hello.encoded)
        case .thaw: end(stream, thaw(try decode(request.body)).encoded)
        case .freeze:
            do throws(SystemError) {
                try configuration.machine.synchronize()
            } catch {
                throw GuestFailure(error)
            }
            end(stream)
        case .metrics: end(stream, MetricsReader.read().encoded)
        case .powerOff:
            try? configuration.machine.synchronize()
            isPoweringOff = true
            end(stream)
        default: throw GuestFailure(.unsupported, "\(request.operation) is not known to this agent")
        }
    }

    private func thaw(_ request: Thaw) -> Thawed {
        let machine = configuration.machine
        // The clock first: what the host read ages with every step before it.
        let clock = attempt { () throws(SystemError) in
            try machine.setClock(nanoseconds: request.wallClockNanoseconds)
        }
        let generator = attempt { () throws(SystemError) in try machine.reseed(entropy: request.entropy) }
        processes.setDefaults(environment: request.environment, user: request.user)
        let identity = attempt { () throws(SystemError) in
            guard isName(request.hostname), isMachineID(request.machineID) else {
                throw SystemError("set identity", request.hostname, errno: EINVAL)
            }
            try machine.setIdentity(hostname: request.hostname, machineID: request.machineID)
        }
        let disk =
            request.diskBytes == 0
            || attempt { () throws(SystemError) in try machine.growDisk(to: request.diskBytes) }
        return Thawed(clockSet: clock, generatorReseeded: generator, identitySet: identity, diskGrown: disk)
    }

    private func attempt(_ body: () throws(SystemError) -> Void) -> Bool {
        do throws(SystemError) {
            try body()
            return true
        } catch {
            configuration.log("thaw: \(error)")
            return false
        }
    }

    /// Whether a host name is one label or more of what DNS allows, so that it can stand in any file.
    private func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (97...122).contains(byte) || (65...90).contains(byte) || byte == 45
                    || byte == 46
            }
    }

    private func isMachineID(_ text: String) -> Bool {
        text.utf8.count == 32 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
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
        case .statFile: end(number, try files.facts(decode(request.body)).encoded)
        case .listDirectory:
            let stream = try ListDirectoryStream(
                number: number, window: request.window, transport: transport, request: decode(request.body))
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
}
