import CLinux
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// The process that stands for a container on the host: whoever made the container watches its end, and its streams
/// are the container's. It ends as the container's program ends.
struct Shim: Sendable {
    static let verb = "shim"
    /// What it writes to its creator once the container is ready.
    static let readyWord = "ready"
    private static let readyDescriptor: Int32 = 3

    let options: RuntimeOptions
    let directory: ContainerDirectory

    /// Sets the container up, follows it to its end, and returns its exit code.
    func run() async throws -> Int32 {
        let ready = Descriptor(owning: Self.readyDescriptor)
        _ = fcntl(ready.number, F_SETFD, FD_CLOEXEC)
        let signals = ShimSignals()
        do {
            let record = try directory.read()
            return try await Runtime.withMachine(record) { machine in
                let streams = try openStreams(record)
                let (process, first) = try await machine.begin(terminal: streams.size)
                let listener = try UnixSocket.listen(
                    in: try Descriptor.openDirectory(directory.path), name: ContainerDirectory.controlName)
                let control = ShimControl(
                    listener: listener, machine: machine, first: first, directory: directory)
                try ready.writeAll(Array(Self.readyWord.utf8))
                ready.close()
                return await follow(machine, process, streams, control, signals)
            }
        } catch {
            try? ready.writeAll(Array(((error as? MartletError)?.message ?? "\(error)").utf8))
            throw error
        }
    }

    private func openStreams(_ record: ContainerRecord) throws -> ShimStreams {
        guard record.terminal else { return ShimStreams.standard }
        guard let path = options.consoleSocket, let slash = path.lastIndex(of: "/") else {
            throw MartletError.invalid("--console-socket", "is no absolute path")
        }
        let place = try Descriptor.openDirectory(slash == path.startIndex ? "/" : String(path[..<slash]))
        let name = String(path[path.index(after: slash)...])
        return try ShimStreams.terminal(sendingTo: try UnixSocket.connect(in: place, name: name))
    }

    private func follow(
        _ machine: ContainerMachine, _ process: Int32, _ streams: ShimStreams, _ control: ShimControl,
        _ signals: ShimSignals
    ) async -> Int32 {
        await withTaskGroup(of: Int32?.self) { group in
            group.addTask { await output(machine, process, streams) }
            group.addTask {
                // Nobody starts what was killed before it was started.
                await control.serve()
                return 128 + SIGKILL
            }
            group.addTask {
                await input(machine, process, streams)
                return nil
            }
            group.addTask {
                for await number in signals.stream {
                    if number == SIGWINCH {
                        guard let size = streams.size else { continue }
                        try? await machine.client.resize(
                            machine.sandbox, process, rows: size.rows, columns: size.cols)
                    } else {
                        try? await machine.signal(number, to: control.first)
                    }
                }
                return nil
            }
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(ContainerMachine.leaseSeconds) / 3)
                    if !Task.isCancelled { try? await machine.extendLease() }
                }
                return nil
            }
            while let finished = await group.next() {
                if let code = finished {
                    // The others may be in calls that block: the process ends around them.
                    await control.answering.acquire()
                    try? await machine.delete()
                    exit(code)
                }
            }
            return 125
        }
    }

    private func output(_ machine: ContainerMachine, _ process: Int32, _ streams: ShimStreams) async -> Int32 {
        do {
            for try await event in machine.client.processEvents(machine.sandbox, process) {
                switch event {
                case .output(let channel, let bytes):
                    let target = channel == .stdout ? streams.output : streams.errors
                    // Whoever has stopped reading does not stop the container.
                    try? await Blocking.run { try target.writeAll(bytes) }
                case .lost: break
                case .exit(let exit): return exit.signal == nil ? exit.exitCode : max(exit.exitCode, 128)
                }
            }
        } catch {
            let text = "martlet-oci: the machine was lost: \((error as? MartletError)?.message ?? "\(error)")\n"
            try? streams.errors.writeAll(Array(text.utf8))
        }
        return 125
    }

    private func input(_ machine: ContainerMachine, _ process: Int32, _ streams: ShimStreams) async {
        do {
            while true {
                let source = streams.input
                let bytes = try await Blocking.run { try source.read(upTo: 65_536) }
                try await machine.client.writeInput(machine.sandbox, process, bytes, close: bytes.isEmpty)
                if bytes.isEmpty { return }
            }
        } catch {
            // The program does not read any more, or the terminal has gone; the output tells the rest.
        }
    }
}
