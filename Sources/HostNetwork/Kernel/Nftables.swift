import CLinux
import Glibc
import LinuxSystem
import Synchronization

/// The library behind `nft`, loaded when it is first needed, so that the program starts where it is not installed.
///
/// A transaction takes effect as a whole or not at all. All run on one thread, which has a table of descriptors of its
/// own: the library waits for the kernel with select(2), which cannot count beyond 1024, and ends the program when the
/// socket it got has a higher number. Another thread closes those sockets, since that waits for a while whenever rules
/// were removed, though they are removed already.
final class Nftables: Sendable {
    /// A transaction that was refused, with the library's words.
    struct Failure: Error, Sendable, CustomStringConvertible {
        var reason: String
        var description: String { "nftables: \(reason)" }
    }

    private let library: NftablesLibrary
    private let worker: Worker
    /// One caller at a time.
    private let turn = Mutex(())

    private static let loaded = Result { () throws(Failure) -> Nftables in try Nftables() }

    /// The library.
    ///
    /// - Throws: `Failure` where it is not installed.
    static func load() throws(Failure) -> Nftables { try loaded.get() }

    private init() throws(Failure) {
        library = try NftablesLibrary()
        worker = try Worker(library)
    }

    /// Runs a script as one transaction in a network namespace; blocks the thread.
    func apply(_ script: String, in namespace: Descriptor) throws(Failure) { _ = try query(script, in: namespace) }

    /// Runs a script and gives what it prints, at most 1 MiB; blocks the thread.
    func query(_ script: String, in namespace: Descriptor) throws(Failure) -> String {
        let answer = turn.withLock { _ in worker.run(script, in: namespace) }
        return try answer.get()
    }

    /// The thread: takes one script after another.
    private final class Worker: Sendable {
        private struct State {
            var script = ""
            var answer: Result<String, Failure> = .success("")
        }

        private let library: NftablesLibrary
        private let closing: ClosingThread
        private let state = Mutex(State())
        /// Descriptors of namespaces go from one end to the other, into the thread's own table; sockets of transactions
        /// come back when these are done.
        private let near: Descriptor
        private let far: Int32

        init(_ library: NftablesLibrary) throws(Failure) {
            self.library = library
            closing = try ClosingThread()
            var ends: [Int32] = [-1, -1]
            guard clinux_socketpair(&ends) == 0 else { throw Failure(reason: "no descriptors") }
            near = Descriptor(owning: ends[0])
            far = ends[1]
            let start = Unmanaged.passRetained(self)
            var thread = pthread_t()
            let result = pthread_create(
                &thread, nil,
                { argument in
                    Unmanaged<Worker>.fromOpaque(argument!).takeRetainedValue().serve()
                    return nil
                }, start.toOpaque())
            guard result == 0 else {
                start.release()
                throw Failure(reason: "no thread")
            }
            pthread_detach(thread)
            // Its first word says that it has descriptors of its own, after which this end of the channel is its only.
            let isReady = (try? near.read(upTo: 1)) == [1]
            Glibc.close(far)
            guard isReady else { throw Failure(reason: "a thread cannot have descriptors of its own") }
        }

        func run(_ script: String, in namespace: Descriptor) -> Result<String, Failure> {
            state.withLock { $0.script = script }
            guard clinux_send_descriptor(near.number, namespace.number) == 0 else {
                return .failure(Failure(reason: "the thread for rules has ended"))
            }
            // The socket of the transaction, or the end of the channel.
            let socket = clinux_receive_descriptor(near.number)
            guard socket >= 0 else { return .failure(Failure(reason: "the thread for rules has ended")) }
            closing.add(Descriptor(owning: socket))
            return state.withLock { state in
                state.script = ""
                return state.answer
            }
        }

        private func serve() {
            _ = clinux_name_thread("martlet-rules")
            guard clinux_own_descriptors(far) == 0 else {
                _ = clinux_write(far, [0], 1)
                return
            }
            _ = clinux_write(far, [1], 1)
            while let socket = serveOne() {
                guard clinux_send_descriptor(far, socket.number) == 0 else { break }
            }
            Glibc.close(far)
        }

        /// Runs the next script, and gives the socket it went through, or one like it; nil when there are no more.
        private func serveOne() -> Descriptor? {
            let number = clinux_receive_descriptor(far)
            guard number >= 0 else { return nil }
            let namespace = Descriptor(owning: number)
            let script = state.withLock { $0.script }
            do {
                let home = try NetworkNamespace.current()
                try NetworkNamespace.enter(namespace)
                // A thread that stays keeps the namespace from ending.
                defer { try? NetworkNamespace.enter(home) }
                let (answer, socket) = library.run(script)
                state.withLock { $0.answer = answer }
                return socket ?? namespace
            } catch {
                state.withLock { $0.answer = .failure(Failure(reason: "\(error)")) }
                return namespace
            }
        }
    }
}

/// A thread that closes descriptors, for which nobody has to wait then.
private final class ClosingThread: Sendable {
    private let waiting = Mutex(Line<Descriptor>())
    // Counts what waits; a semaphore is made to be shared by threads.
    nonisolated(unsafe) private let count = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() throws(Nftables.Failure) {
        sem_init(count, 0, 0)
        let start = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ClosingThread>.fromOpaque(argument!).takeRetainedValue().serve()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw Nftables.Failure(reason: "no thread")
        }
        pthread_detach(thread)
    }

    func add(_ descriptor: Descriptor) {
        waiting.withLock { $0.append(descriptor) }
        sem_post(count)
    }

    private func serve() {
        _ = clinux_name_thread("martlet-closing")
        while true {
            while sem_wait(count) != 0 {}
            waiting.withLock { $0.take() }?.close()
        }
    }
}

/// libnftables(3), for one thread.
private struct NftablesLibrary: Sendable {
    private typealias Create = @convention(c) (UInt32) -> OpaquePointer?
    private typealias Free = @convention(c) (OpaquePointer?) -> Void
    private typealias Buffer = @convention(c) (OpaquePointer?) -> Int32
    private typealias Text = @convention(c) (OpaquePointer?) -> UnsafePointer<CChar>?
    private typealias Run = @convention(c) (OpaquePointer?, UnsafePointer<CChar>) -> Int32

    private static let file = "libnftables.so.1"
    private let create: Create
    private let free: Free
    private let bufferErrors: Buffer
    private let bufferOutput: Buffer
    private let errors: Text
    private let output: Text
    private let runCommands: Run

    init() throws(Nftables.Failure) {
        guard let handle = dlopen(NftablesLibrary.file, RTLD_NOW | RTLD_LOCAL) else {
            throw Nftables.Failure(reason: "\(NftablesLibrary.file) is not installed")
        }
        func symbol<Function>(_ name: String, _ type: Function.Type) throws(Nftables.Failure) -> Function {
            guard let address = dlsym(handle, name) else {
                throw Nftables.Failure(reason: "\(NftablesLibrary.file) has no \(name)")
            }
            return unsafeBitCast(address, to: type)
        }
        create = try symbol("nft_ctx_new", Create.self)
        free = try symbol("nft_ctx_free", Free.self)
        bufferErrors = try symbol("nft_ctx_buffer_error", Buffer.self)
        bufferOutput = try symbol("nft_ctx_buffer_output", Buffer.self)
        errors = try symbol("nft_ctx_get_error_buffer", Text.self)
        output = try symbol("nft_ctx_get_output_buffer", Text.self)
        runCommands = try symbol("nft_run_cmd_from_buffer", Run.self)
    }

    /// Runs a script in the thread's namespace, for which a context is made each time; gives the context's socket, too,
    /// still open.
    func run(_ script: String) -> (answer: Result<String, Nftables.Failure>, socket: Descriptor?) {
        // This thread alone opens descriptors here, and the lowest number that is free is given next.
        let next = fcntl(0, F_DUPFD_CLOEXEC, 3)
        if next >= 0 { close(next) }
        guard let context = create(0) else {
            return (.failure(.init(reason: "no memory, or no permission")), nil)
        }
        let duplicate = next >= 0 && clinux_is_netlink(next) == 1 ? fcntl(next, F_DUPFD_CLOEXEC, 3) : -1
        let socket = duplicate >= 0 ? Descriptor(owning: duplicate) : nil
        defer { free(context) }
        guard bufferErrors(context) == 0, bufferOutput(context) == 0 else {
            return (.failure(.init(reason: "no memory")), socket)
        }
        guard runCommands(context, script) == 0 else {
            let text = errors(context).map { String(cString: $0) } ?? ""
            let line = text.split(separator: "\n").first.map(String.init) ?? "refused"
            return (.failure(.init(reason: String(line.prefix(300)))), socket)
        }
        let text = output(context).map { String(String(cString: $0).prefix(1 << 20)) } ?? ""
        return (.success(text), socket)
    }
}
