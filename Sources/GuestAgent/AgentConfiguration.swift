import LinuxSystem

/// Where an agent serves and how much of the machine is its own.
package struct AgentConfiguration: Sendable {
    /// How ended children are collected.
    package enum Reaping: Sendable {
        /// Only those the agent started: it shares its process with others.
        case ownChildren
        /// Every one: the agent is PID 1 or a subreaper, and orphans come to it.
        case everyChild
    }

    /// The byte stream to the host; the agent makes it non-blocking and closes it at the end. nil while no host has come.
    package var descriptor: Int32?
    /// Where the host's bytes come from is `descriptor`, and the agent's go here, where that is another one.
    package var output: Int32?
    /// A listening socket: the host that connected last is the one that is served.
    package var listener: Int32?
    /// Whether what has connected to the listener is a host, and not somebody else who can.
    var admitsHost: @Sendable (_ connection: Int32) -> Bool = { _ in true }
    /// True where the end of the stream is the end of the agent (a socketpair); false where the host may come back
    /// (a virtio-serial port).
    package var endsAtHangup: Bool
    package var reaping: Reaping
    /// The control group under which each process gets its own; nil where there is none.
    package var controlGroup: String?
    /// Whether the kernel leaves it to the agent to tell programs of a terminal's new size.
    package var tellsOfResize = false
    /// Whether programs can be held for a capture.
    package var holdsPrograms = true
    /// Whether it is for the agent to see that programs are not short of memory for long.
    package var guardsMemory = false
    /// What the sandbox may use of a machine it shares; nil where all of the machine is its own.
    package var allotment: MetricsReader.Allotment?
    /// RLIMIT_NOFILE of started processes; nil leaves the agent's own.
    package var maxOpenFiles: Int64?
    /// Bytes of output kept for replay, all processes together.
    package var replayBudget = 32 << 20
    /// Ended processes that can still be asked about.
    package var rememberedProcesses = 256
    /// Streams open at once.
    package var maxStreams = 1024
    /// Connections to services open at once, being opened included.
    package var maxConnections = 256
    /// How long a service that ended is left alone, in milliseconds: at first and at most.
    package var restartDelays: (first: UInt64, longest: UInt64) = (100, 10_000)
    /// What a thaw, a freeze and a power-off do to the machine.
    package var machine: any MachineControl
    /// Where new SSH host keys come from, once the machine has removed old ones.
    package var hostKeys = HostKeyPlaces()
    /// Takes a line about something the host cannot be told.
    package var log: @Sendable (String) -> Void

    package init(
        descriptor: Int32, endsAtHangup: Bool = true, reaping: Reaping = .ownChildren, controlGroup: String? = nil,
        machine: any MachineControl, log: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.descriptor = descriptor
        self.endsAtHangup = endsAtHangup
        self.reaping = reaping
        self.controlGroup = controlGroup
        self.machine = machine
        self.log = log
    }

    /// An agent that hosts connect to, one after the other.
    init(
        listener: Int32?, reaping: Reaping, controlGroup: String?, machine: any MachineControl,
        log: @escaping @Sendable (String) -> Void
    ) {
        self.listener = listener
        endsAtHangup = false
        self.reaping = reaping
        self.controlGroup = controlGroup
        self.machine = machine
        self.log = log
    }
}

/// What this build of the agent calls itself.
package enum AgentVersion {
    package static let string = "0.1.0"
}
