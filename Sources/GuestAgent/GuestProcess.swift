import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// One process the agent started: its output, its input, the streams that follow it, and how it ended.
final class GuestProcess {
    /// What is the same all its life.
    struct Facts {
        var pid: Int32
        var arguments: [String]
        var workingDirectory: String
        var user: String
        var hasTerminal: Bool
        var startedMilliseconds: Int64
        var startedNanoseconds: Int64
    }

    let facts: Facts
    let cage: ProcessCage?
    /// The agent's end of its terminal, while it runs.
    private(set) var terminal: Descriptor?
    let input: ProcessInput?
    let output: ReplayBuffer
    let loop: EventLoop
    private var sources: [OutputSource] = []
    private var streams: [ProcessStream] = []
    private var timeout: LoopTimer?
    private var grace: LoopTimer?
    private var timedOut = false
    private var isDoomed = false
    /// How it ended, once it has.
    private var ended: clinux_exit?
    private var endedNanoseconds: Int64 = 0
    /// Where the output ends that streams wait for; nil until the process has ended and its own output was read.
    private(set) var settledOffset: UInt64?
    /// Streams to be told when the process has ended.
    private var waiters: [AgentStream] = []
    var onSettled: () -> Void = {}
    /// Called once when the process itself has ended, whatever of its output is still to be read.
    var onEnded: (() -> Void)?
    /// Called once no stream follows it any more.
    var onLastStreamGone: (() -> Void)?

    init(
        facts: Facts, cage: ProcessCage?, terminal: Descriptor?, input: ProcessInput?, output: ReplayBuffer,
        loop: EventLoop
    ) {
        self.facts = facts
        self.cage = cage
        self.terminal = terminal
        self.input = input
        self.output = output
        self.loop = loop
    }

    var pid: Int32 { facts.pid }
    var hasEnded: Bool { ended != nil }
    var hasStreams: Bool { !streams.isEmpty }

    // MARK: Output

    /// Reads output from `descriptor` from now on.
    func read(_ descriptor: Descriptor, as channel: OutputChannel) throws(SystemError) {
        let source = OutputSource(descriptor: descriptor, channel: channel, process: self)
        try source.resume()
        sources.append(source)
    }

    /// Bytes that may be read now without a lossless stream losing any; nil without such a stream.
    var room: Int? {
        if isDoomed { return nil }
        var oldest: UInt64?
        for stream in streams where stream.mode == .lossless { oldest = min(oldest ?? .max, stream.offset) }
        return oldest.map { output.room(before: $0) }
    }

    func took(_ bytes: UnsafeRawBufferPointer, channel: OutputChannel) {
        output.append(bytes, channel: channel)
        for stream in streams { stream.outputArrived() }
    }

    func sourceClosed() {
        if hasEnded { settleIfDrained() }
    }

    /// A stream took output or left: reading may go on.
    func roomChanged() {
        guard sources.contains(where: \.isHeld) else { return }
        // Not for every byte: a program woken for a few bytes at a time runs at the speed of the wake-ups.
        if let room, room < 8192, room < Int(output.endOffset - output.firstOffset) / 2 { return }
        for source in sources where source.isHeld {
            try? source.resume()
            // An empty pipe that something else holds open gives no event.
            if hasEnded { source.readAvailable() }
        }
        if hasEnded { settleIfDrained() }
    }

    // MARK: Streams

    func attach(_ stream: ProcessStream) { streams.append(stream) }

    func detach(_ stream: ProcessStream) {
        streams.removeAll { $0 === stream }
        input?.dismiss(stream)
        roomChanged()
        if streams.isEmpty {
            onLastStreamGone?()
            onLastStreamGone = nil
        }
    }

    func tellWhenEnded(_ stream: AgentStream) { waiters.append(stream) }

    // MARK: Signals and the end

    func killAfter(milliseconds: UInt64) {
        timeout = loop.after(milliseconds: milliseconds) { [unowned self] in
            timedOut = true
            killEverything()
        }
    }

    /// Kills the process and waits no longer for anyone to read its output.
    func doom() {
        isDoomed = true
        killEverything()
        roomChanged()
    }

    /// Kills the process with everything it started.
    func killEverything() {
        if let cage, cage.holder === self {
            if !hasEnded { _ = clinux_kill(-pid, SIGKILL) }
            cage.killAll()
        } else if !hasEnded {
            ProcessGroups.killEverything(of: pid)
        }
    }

    func signalGroup(_ signal: Int32) -> Int32 {
        if signal == SIGKILL {
            killEverything()
            return 0
        }
        return clinux_kill(-pid, signal)
    }

    /// Notes how the process ended; its streams end when its output has been read.
    func ended(_ exit: clinux_exit) {
        ended = exit
        endedNanoseconds = Clocks.monotonicNanoseconds
        timeout?.cancel()
        input?.shutDown()
        terminal = nil
        for source in sources { source.readAvailable() }
        for stream in streams where stream.mode == .exitOnly { stream.processEnded() }
        settleIfDrained()
        guard settledOffset == nil else { return }
        // Something it started holds the output open. What the process itself wrote is in the pipe and is read in
        // any case; the grace is for a last word of its helpers (`> >(tee log)`).
        for source in sources { source.startLastRead() }
        grace = loop.after(milliseconds: 50) { [unowned self] in
            // Being told that it has ended may be what lets go of it.
            let process = self
            for source in process.sources { source.graceIsOver() }
            process.settleIfDrained()
        }
    }

    func settleIfDrained() {
        guard hasEnded, settledOffset == nil, sources.allSatisfy(\.isDrained) else { return }
        grace?.cancel()
        settledOffset = output.endOffset
        for stream in streams { stream.processEnded() }
        for stream in waiters { stream.finish() }
        waiters = []
        onSettled()
    }

    var exit: ProcessExit? {
        guard let ended else { return nil }
        return ProcessExit(
            code: ended.signal == 0 ? ended.code : 128 + ended.signal, signal: ended.signal, timedOut: timedOut,
            wallMicroseconds: UInt64(max(0, endedNanoseconds - facts.startedNanoseconds) / 1000),
            userMicroseconds: ended.user_us, systemMicroseconds: ended.system_us,
            maxResidentBytes: ended.max_rss_bytes, outputBytes: output.endOffset)
    }

    /// What the host is told about it; command line and directory cut to `textLimit` bytes.
    func info(textLimit: Int) -> ProcessInfo {
        var left = textLimit
        func cut(_ text: String) -> String {
            let kept = text.utf8.count <= left ? text : String(decoding: text.utf8.prefix(left), as: UTF8.self)
            left = max(0, left - kept.utf8.count - 4)
            return kept
        }
        let user = cut(facts.user)
        let directory = cut(facts.workingDirectory)
        var arguments: [String] = []
        for argument in facts.arguments where left > 0 { arguments.append(cut(argument)) }
        return ProcessInfo(
            pid: pid, arguments: arguments, workingDirectory: directory, user: user, hasTerminal: facts.hasTerminal,
            startedMilliseconds: facts.startedMilliseconds, firstOffset: output.firstOffset,
            outputBytes: output.endOffset, exit: exit)
    }

    /// Lets go of every descriptor: the process is forgotten.
    func release() {
        timeout?.cancel()
        grace?.cancel()
        for source in sources { source.close() }
        input?.shutDown()
        output.release()
    }
}
