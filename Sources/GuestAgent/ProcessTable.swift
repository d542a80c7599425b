import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// The processes the agent started: running ones, and the last of those that ended.
final class ProcessTable {
    private static let replayLimit = 8 << 20
    /// What a stream needs to flow even where no replay is wanted.
    private static let smallestReplay = 65_536
    /// Bytes of a list's payload: it travels in one frame.
    private static let listBytes = 60_000

    private let loop: EventLoop
    private let transport: Transport
    private let budget: ReplayBudget
    private let remembered: Int
    private let tellsOfResize: Bool
    private let reaping: AgentConfiguration.Reaping
    private let cages: ProcessCages?
    private let programs: HeldPrograms?
    private var launcher: ProcessLauncher
    private var processes: [Int32: GuestProcess] = [:]
    /// Pids of ended processes, the one that ended first in front.
    private var ended: [Int32] = []
    /// Programs of the agent's own, which nobody can name: what to do when they end.
    private var helpers: [Int32: (clinux_exit) -> Void] = [:]
    private var childWatches: [Int32: Watch] = [:]
    private var pidfds: [Int32: Descriptor] = [:]
    private var signals: Descriptor?
    private var signalWatch: Watch?

    init(
        configuration: AgentConfiguration, loop: EventLoop, transport: Transport, users: Users,
        programs: HeldPrograms?
    ) throws(SystemError) {
        self.loop = loop
        self.transport = transport
        self.programs = programs
        budget = ReplayBudget(bytes: configuration.replayBudget)
        remembered = configuration.rememberedProcesses
        tellsOfResize = configuration.tellsOfResize
        reaping = configuration.reaping
        cages = configuration.controlGroup.flatMap { ProcessCages(path: $0) }
        launcher = ProcessLauncher(users: users, sandboxEnvironment: [], maxOpenFiles: configuration.maxOpenFiles)
        budget.reclaim = { [unowned self] in freeEndedOutput() }
        if reaping == .everyChild { try watchChildSignal() }
    }

    /// What every later process starts with, before its own.
    ///
    /// - Parameter keeping: lays the variables over those given before, by name, instead of replacing all.
    ///
    /// - Returns: all of it, as it is now.
    @discardableResult
    func setEnvironment(_ environment: [String], keeping: Bool) -> [String] {
        launcher.sandboxEnvironment = (keeping ? launcher.sandboxEnvironment : []).overlaid(with: environment)
        return launcher.sandboxEnvironment
    }

    /// Who later processes run as that do not say so themselves.
    func setDefaultUser(_ user: String) { launcher.defaultUser = user }

    // MARK: Operations

    func start(_ request: StartProcess, stream number: UInt32, window: UInt32) throws(GuestFailure) {
        let process = try launch(request)
        let stream = ProcessStream(
            number: number, window: window, transport: transport, process: process, mode: request.attach,
            takesInput: request.takesInput || request.terminal != nil)
        transport.add(stream)
        stream.start()
    }

    /// Starts a process that nobody follows yet; `ended` is called once when it has ended, and what it left is killed.
    func startUnfollowed(_ request: StartProcess, ended: @escaping () -> Void) throws(GuestFailure) -> Int32 {
        let process = try launch(request)
        process.onEnded = { [unowned process] in
            process.killEverything()
            ended()
        }
        return process.pid
    }

    func attach(_ request: AttachProcess, stream number: UInt32, window: UInt32) throws(GuestFailure) {
        let process = try find(request.pid)
        guard request.mode == .exitOnly || request.offset <= process.output.endOffset else {
            throw GuestFailure(.invalidArgument, "process \(request.pid): offset \(request.offset) is past its output")
        }
        let stream = ProcessStream(
            number: number, window: window, transport: transport, process: process, mode: request.mode,
            offset: min(request.offset, process.output.endOffset))
        transport.add(stream)
        stream.start()
    }

    func list() -> ProcessList {
        let sorted = processes.values.sorted { $0.facts.startedNanoseconds < $1.facts.startedNanoseconds }
        let fixed = 128
        let shown = sorted.suffix(ProcessTable.listBytes / fixed)
        let textLimit = max(0, ProcessTable.listBytes / max(1, shown.count) - fixed)
        return ProcessList(shown.map { $0.info(textLimit: textLimit) })
    }

    func inspect(_ pid: Int32) throws(GuestFailure) -> ProcessInfo {
        try find(pid).info(textLimit: ProcessTable.listBytes)
    }

    func signal(_ request: SignalProcess) throws(GuestFailure) {
        let process = try running(request.pid)
        guard (1...64).contains(request.signal) else {
            throw GuestFailure(.invalidArgument, "signal \(request.signal): no such signal")
        }
        let result = process.signalGroup(request.signal)
        if result < 0 { throw GuestFailure(path: "process \(request.pid)", errno: -result) }
    }

    func resize(_ request: ResizeTerminal) throws(GuestFailure) {
        guard let terminal = try running(request.pid).terminal else {
            throw GuestFailure(.invalidArgument, "process \(request.pid): has no terminal")
        }
        let result = clinux_resize_terminal(terminal.number, request.size.rows, request.size.columns)
        if result < 0 { throw GuestFailure(path: "process \(request.pid)", errno: -result) }
        if tellsOfResize { _ = clinux_kill(-request.pid, SIGWINCH) }
    }

    func writeInput(_ request: WriteInput, stream number: UInt32) throws(GuestFailure) {
        guard let input = try running(request.pid).input else {
            throw GuestFailure(.invalidArgument, "process \(request.pid): takes no input")
        }
        guard !input.isClosed else {
            throw GuestFailure(.invalidArgument, "process \(request.pid): its input is closed")
        }
        let stream = InputStream(number: number, transport: transport, input: input, closes: request.closes)
        transport.add(stream)
        input.admit(stream)
    }

    /// Kills a process if it runs, and drops it once it has ended; `stream` ends then.
    func forget(_ pid: Int32, stream: AgentStream) throws(GuestFailure) {
        let process = try find(pid)
        process.doom()
        transport.add(stream)
        guard process.settledOffset == nil else {
            drop(process)
            stream.finish()
            return
        }
        process.tellWhenEnded(stream)
        let remember = process.onSettled
        process.onSettled = { [unowned self, unowned process] in
            remember()
            drop(process)
        }
    }

    /// Kills every process; the agent is about to end.
    func killAll() {
        for process in processes.values {
            process.killEverything()
            if !process.hasEnded { collect(process.pid) }
            process.release()
        }
        processes = [:]
        for pid in helpers.keys {
            _ = clinux_kill(pid, SIGKILL)
            collect(pid)
        }
        helpers = [:]
    }

    /// Reaps a killed child where nobody else does.
    private func collect(_ pid: Int32) {
        guard reaping == .ownChildren, let pidfd = pidfds[pid] else { return }
        _ = clinux_poll_one(pidfd.number, Int16(POLLIN), 5000)
        var exit = clinux_exit()
        _ = clinux_reap(pid, &exit)
    }

    private func find(_ pid: Int32) throws(GuestFailure) -> GuestProcess {
        guard let process = processes[pid] else { throw GuestFailure(.notFound, "process \(pid): no such process") }
        return process
    }

    private func running(_ pid: Int32) throws(GuestFailure) -> GuestProcess {
        let process = try find(pid)
        guard !process.hasEnded else { throw GuestFailure(.processExited, "process \(pid): has ended") }
        return process
    }

    // MARK: Starting

    private func launch(_ request: StartProcess) throws(GuestFailure) -> GuestProcess {
        var plan = try launcher.plan(request)
        let channels: ProcessChannels
        do throws(SystemError) {
            channels = try ProcessChannels(request)
        } catch {
            throw GuestFailure(.limitReached, errno: error.errno, "\(request.arguments[0]): \(error.description)")
        }
        plan.spawn.descriptors = channels.child.map { $0?.number }
        let cage = cages?.take()
        // A program outside could be neither held nor killed as a whole.
        guard cages == nil || cage != nil else {
            throw GuestFailure(.limitReached, "\(request.arguments[0]): no control group is left")
        }
        cage?.hold(&plan.spawn)
        plan.spawn.cgroupIsFrozen = programs?.areHeld ?? false
        let started = Clocks.monotonicNanoseconds
        let child: ChildProcess
        do throws(GuestFailure) {
            child = try withExtendedLifetime((channels, cage)) { () throws(GuestFailure) in
                try launcher.start(plan)
            }
        } catch {
            if let cage { cages?.giveBack(cage) }
            throw error
        }
        let facts = GuestProcess.Facts(
            pid: child.pid, arguments: request.arguments, workingDirectory: plan.workingDirectory, user: plan.user,
            hasTerminal: request.terminal != nil, startedMilliseconds: Clocks.realtimeMilliseconds,
            startedNanoseconds: started)
        let limit = min(max(Int(request.replayBytes), ProcessTable.smallestReplay), ProcessTable.replayLimit)
        let process = GuestProcess(
            facts: facts, cage: cage, terminal: channels.terminal,
            input: channels.input.map {
                ProcessInput(descriptor: $0, isTerminal: channels.terminal != nil, loop: loop)
            },
            output: ReplayBuffer(limit: limit, budget: budget), loop: loop)
        cage?.holder = process
        do throws(SystemError) {
            try adopt(process, child, outputs: channels.outputs)
        } catch {
            // Without a place in the loop it could neither be heard nor collected.
            process.killEverything()
            process.release()
            var exit = clinux_exit()
            _ = clinux_poll_one(child.pidfd?.number ?? -1, Int16(POLLIN), 1000)
            _ = clinux_reap(child.pid, &exit)
            throw GuestFailure(.limitReached, errno: error.errno, "\(request.arguments[0]): \(error.description)")
        }
        if request.timeoutMilliseconds > 0 { process.killAfter(milliseconds: request.timeoutMilliseconds) }
        return process
    }

    private func adopt(
        _ process: GuestProcess, _ child: ChildProcess, outputs: [(Descriptor, OutputChannel)]
    ) throws(SystemError) {
        for (descriptor, channel) in outputs { try process.read(descriptor, as: channel) }
        try watch(child)
        // A remembered process whose pid the kernel gave out again can no longer be named.
        if let namesake = processes[process.pid] { drop(namesake) }
        processes[process.pid] = process
    }

    /// Starts a program of the agent's own, which is in no control group and is never held.
    ///
    /// - Returns: its pid, which is its own until `ended` is called.
    func startHelper(_ request: SpawnRequest, _ ended: @escaping (clinux_exit) -> Void) throws(SystemError) -> Int32 {
        let child: ChildProcess
        do throws(SpawnError) {
            child = try ChildProcess.spawn(request)
        } catch {
            throw SystemError("start", request.program, errno: error.errno)
        }
        do throws(SystemError) {
            try watch(child)
        } catch {
            _ = clinux_kill(child.pid, SIGKILL)
            throw error
        }
        helpers[child.pid] = ended
        return child.pid
    }

    /// Hears of the end of a child.
    private func watch(_ child: ChildProcess) throws(SystemError) {
        if reaping == .ownChildren {
            guard let pidfd = child.pidfd else { throw SystemError("pidfd_open", "\(child.pid)", errno: ENOSYS) }
            childWatches[child.pid] = try loop.watch(pidfd.number, UInt32(CLINUX_EVENT_READ)) {
                [unowned self] _ in reap(child.pid)
            }
            pidfds[child.pid] = pidfd
        }
    }

    // MARK: Ending

    private func watchChildSignal() throws(SystemError) {
        let signals = Descriptor(
            owning: try SystemError.check(clinux_signalfd([SIGCHLD], 1), "signalfd"))
        self.signals = signals
        signalWatch = try loop.watch(signals.number, UInt32(CLINUX_EVENT_READ)) { [unowned self] _ in
            // What it says is of no use: signals are merged, so every ended child is looked for.
            while clinux_read(signals.number, loop.scratch.baseAddress, loop.scratch.count) > 0 {}
            reap(-1)
        }
    }

    private func reap(_ pid: Int32) {
        var exit = clinux_exit()
        while clinux_reap(pid, &exit) > 0 {
            let ended = exit.pid
            childWatches.removeValue(forKey: ended)?.stop()
            pidfds[ended] = nil
            if let helper = helpers.removeValue(forKey: ended) {
                helper(exit)
            } else if let process = processes[ended], !process.hasEnded {
                hasEnded(process, exit)
            }
            if pid > 0 { return }
        }
    }

    private func hasEnded(_ process: GuestProcess, _ exit: clinux_exit) {
        ended.append(process.pid)
        process.ended(exit)
        process.onEnded?()
        process.onEnded = nil
        if let cage = process.cage { cages?.giveBack(cage) }
        forgetOldest()
    }

    private func forgetOldest() {
        guard ended.count > remembered else { return }
        for pid in ended {
            guard ended.count > remembered else { return }
            if let process = processes[pid], process.hasStreams || process.settledOffset == nil { continue }
            if let process = processes[pid] { drop(process) } else { ended.removeAll { $0 == pid } }
        }
    }

    private func drop(_ process: GuestProcess) {
        if processes[process.pid] === process { processes[process.pid] = nil }
        ended.removeAll { $0 == process.pid }
        if process.hasStreams {
            // What they have not been sent yet they still get.
            process.onLastStreamGone = { [unowned process] in process.release() }
        } else {
            process.release()
        }
    }

    private func freeEndedOutput() {
        for pid in ended {
            guard let process = processes[pid], !process.hasStreams else { continue }
            process.output.release()
            if budget.left > 1 << 20 { return }
        }
    }
}
