import GuestProtocol
import LinuxSystem

/// Keeps services running: a process that ends is started again, later each time as long as it does not last.
///
/// The agent does this, not the host: it is there wherever the sandbox goes, and needs nobody who watches.
final class ServiceSupervisor {
    /// Services at once, at most.
    private static let limit = 64
    /// A process that ran this long did not fail at its start: the next wait is the first one again.
    private static let lastingNanoseconds: Int64 = 30_000_000_000

    private final class Service {
        let request: StartProcess
        var startedNanoseconds: Int64 = 0
        /// The wait before the next start.
        var delay: UInt64

        init(_ request: StartProcess, delay: UInt64) {
            self.request = request
            self.delay = delay
        }
    }

    private let processes: ProcessTable
    private let loop: EventLoop
    private let log: @Sendable (String) -> Void
    private let delays: (first: UInt64, longest: UInt64)
    private var services: [Service] = []

    init(
        processes: ProcessTable, loop: EventLoop, log: @escaping @Sendable (String) -> Void,
        delays: (first: UInt64, longest: UInt64)
    ) {
        self.processes = processes
        self.loop = loop
        self.log = log
        self.delays = delays
    }

    var isEmpty: Bool { services.isEmpty }

    /// Starts a service and keeps it running from then on; returns its first pid.
    ///
    /// One that cannot be started at all is an error, and is not tried again.
    func start(_ request: StartProcess) throws(GuestFailure) -> Int32 {
        guard services.count < ServiceSupervisor.limit else {
            throw GuestFailure(.limitReached, "there are \(services.count) services already")
        }
        guard !request.takesInput, request.terminal == nil, request.timeoutMilliseconds == 0 else {
            throw GuestFailure(.invalidArgument, "a service has no input, no terminal and no end")
        }
        let service = Service(request, delay: delays.first)
        let pid = try launch(service)
        services.append(service)
        return pid
    }

    private func launch(_ service: Service) throws(GuestFailure) -> Int32 {
        service.startedNanoseconds = Clocks.monotonicNanoseconds
        return try processes.startUnfollowed(service.request) { [unowned self, unowned service] in
            startLater(service)
        }
    }

    private func startLater(_ service: Service) {
        if Clocks.monotonicNanoseconds - service.startedNanoseconds >= ServiceSupervisor.lastingNanoseconds {
            service.delay = delays.first
        }
        let delay = service.delay
        service.delay = min(delay * 2, delays.longest)
        log("service \(service.request.arguments[0]) has ended; it is started again in \(delay) ms")
        _ = loop.after(milliseconds: delay) { [unowned self, unowned service] in
            do throws(GuestFailure) {
                _ = try launch(service)
            } catch {
                log("service \(service.request.arguments[0]) cannot be started: \(error.message)")
                startLater(service)
            }
        }
    }
}
