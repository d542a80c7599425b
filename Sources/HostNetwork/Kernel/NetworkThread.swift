import CLinux
import Glibc
import LinuxSystem
import Synchronization

/// A thread of its own for work inside network namespaces, which belong to threads: one piece after another, those that
/// somebody waits for before the rest.
final class NetworkThread: Sendable {
    enum Urgency: Int, Sendable {
        /// On the way of handing a sandbox out.
        case handOut
        case background
    }

    /// Where the thread is when it does nothing.
    let home: Descriptor
    private let queue: JobQueue

    /// Starts a thread whose home is the namespace given, or else the caller's.
    init(home: Descriptor?, name: String) throws(SystemError) {
        self.home = if let home { home } else { try NetworkNamespace.current() }
        queue = JobQueue()
        let start = Unmanaged.passRetained(ThreadStart(queue: queue, home: self.home, name: name))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw SystemError("pthread_create", name, errno: result)
        }
        pthread_detach(thread)
    }

    deinit { queue.close() }

    /// Runs `work` on the thread, inside a namespace, or at home. What it does has to be short.
    func run<Value: Sendable>(
        in namespace: Descriptor? = nil, _ urgency: Urgency, _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        let home = home
        return try await withCheckedThrowingContinuation { continuation in
            queue.add(urgency) {
                continuation.resume(with: Result { try NetworkThread.inside(namespace, home: home, work) })
            }
        }
    }

    /// Each piece says where it belongs, so that one that could not go home does not lead the next astray.
    private static func inside<Value>(
        _ namespace: Descriptor?, home: Descriptor, _ work: () throws -> Value
    ) throws -> Value {
        try NetworkNamespace.enter(namespace ?? home)
        // A thread that stays keeps the namespace from ending.
        defer { if namespace != nil { try? NetworkNamespace.enter(home) } }
        return try work()
    }
}

/// What a thread needs to start.
private final class ThreadStart: Sendable {
    private let queue: JobQueue
    private let home: Descriptor
    private let name: String

    init(queue: JobQueue, home: Descriptor, name: String) {
        self.queue = queue
        self.home = home
        self.name = name
    }

    func run() {
        _ = clinux_name_thread(name)
        try? NetworkNamespace.enter(home)
        while let job = queue.next() { job() }
    }
}

/// Jobs in two lines, for one thread to take.
private final class JobQueue: Sendable {
    private struct Lines {
        var urgent = Line<@Sendable () -> Void>()
        var others = Line<@Sendable () -> Void>()
        var isClosed = false
    }

    private let lines = Mutex(Lines())
    // Counts what is in the lines, and the end; a semaphore is made to be shared by threads.
    nonisolated(unsafe) private let count = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(count, 0, 0) }

    deinit {
        sem_destroy(count)
        count.deallocate()
    }

    func add(_ urgency: NetworkThread.Urgency, _ job: @escaping @Sendable () -> Void) {
        lines.withLock { lines in
            switch urgency {
            case .handOut: lines.urgent.append(job)
            case .background: lines.others.append(job)
            }
        }
        sem_post(count)
    }

    /// No more will come; what is there is still done.
    func close() {
        lines.withLock { $0.isClosed = true }
        sem_post(count)
    }

    /// The next job, waiting for one; nil after the end.
    func next() -> (@Sendable () -> Void)? {
        while true {
            while sem_wait(count) != 0 {}
            let (job, isOver) = lines.withLock { lines -> ((@Sendable () -> Void)?, Bool) in
                if let job = lines.urgent.take() { return (job, false) }
                if let job = lines.others.take() { return (job, false) }
                return (nil, lines.isClosed)
            }
            if let job { return job }
            if isOver { return nil }
        }
    }
}
