/// Answer to `ping`: who is there.
public struct GuestHello: WireMessage {
    public var generation: UInt16
    public var agentVersion: String
    public var kernel: String
    /// Milliseconds since the guest's kernel started.
    public var uptimeMilliseconds: UInt64

    public init(generation: UInt16, agentVersion: String, kernel: String, uptimeMilliseconds: UInt64) {
        self.generation = generation
        self.agentVersion = agentVersion
        self.kernel = kernel
        self.uptimeMilliseconds = uptimeMilliseconds
    }

    public func write(to writer: inout WireWriter) {
        writer.u16(generation)
        writer.string(agentVersion)
        writer.string(kernel)
        writer.u64(uptimeMilliseconds)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        generation = try reader.u16()
        agentVersion = try reader.string()
        kernel = try reader.string()
        uptimeMilliseconds = try reader.u64()
    }
}

/// What makes a restored guest its own: sent after every restore, confirmed before the sandbox is handed out.
public struct Thaw: WireMessage {
    /// Nanoseconds since 1970 on the host's clock, read as late as possible.
    public var wallClockNanoseconds: Int64
    /// Fresh random bytes; mixed into the kernel's generator, which is then made to reseed.
    public var entropy: [UInt8]
    public var hostname: String
    /// 32 lower-case hexadecimal digits for /etc/machine-id.
    public var machineID: String
    /// Environment every process starts with, before its own.
    public var environment: [String]
    /// Size the root file system is to grow to; 0 leaves it.
    public var diskBytes: UInt64
    /// Who processes run as that do not say so themselves, as in `StartProcess`; empty: root.
    public var user: String
    /// Host name, machine id and default user stay what they are; those given here are not looked at.
    public var keepsIdentity: Bool
    /// The environment given before stays; variables given here are laid over it by name.
    public var keepsEnvironment: Bool
    /// Ends every TCP connection with an address that is not the machine's own loopback; listening sockets stay.
    public var dropsConnections: Bool
    /// Removes the SSH host keys and makes new ones of the same kinds, which may be ready a little later.
    public var renewsHostKeys: Bool
    /// An authority (PEM) programs are to trust besides the system's; empty: none is added. See `GuestTrust`.
    public var trustedCertificate: String

    public init(
        wallClockNanoseconds: Int64, entropy: [UInt8], hostname: String, machineID: String,
        environment: [String] = [], diskBytes: UInt64 = 0, user: String = "", keepsIdentity: Bool = false,
        keepsEnvironment: Bool = false, dropsConnections: Bool = false, renewsHostKeys: Bool = false,
        trustedCertificate: String = ""
    ) {
        self.wallClockNanoseconds = wallClockNanoseconds
        self.entropy = entropy
        self.hostname = hostname
        self.machineID = machineID
        self.environment = environment
        self.diskBytes = diskBytes
        self.user = user
        self.keepsIdentity = keepsIdentity
        self.keepsEnvironment = keepsEnvironment
        self.dropsConnections = dropsConnections
        self.renewsHostKeys = renewsHostKeys
        self.trustedCertificate = trustedCertificate
    }

    public func write(to writer: inout WireWriter) {
        writer.i64(wallClockNanoseconds)
        writer.blob(entropy)
        writer.string(hostname)
        writer.string(machineID)
        writer.strings(environment)
        writer.u64(diskBytes)
        writer.string(user)
        writer.bool(keepsIdentity)
        writer.bool(keepsEnvironment)
        writer.bool(dropsConnections)
        writer.bool(renewsHostKeys)
        writer.string(trustedCertificate)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        wallClockNanoseconds = try reader.i64()
        entropy = try reader.blob()
        hostname = try reader.string()
        machineID = try reader.string()
        environment = try reader.strings()
        diskBytes = try reader.u64()
        user = try reader.string()
        keepsIdentity = try reader.bool(ifAbsent: false)
        keepsEnvironment = try reader.bool(ifAbsent: false)
        dropsConnections = try reader.bool(ifAbsent: false)
        renewsHostKeys = try reader.bool(ifAbsent: false)
        trustedCertificate = try reader.string(ifAbsent: "")
    }
}

/// Answer to `thaw`: each promise, kept or not. A sandbox whose answer holds a false is not handed out.
public struct Thawed: WireMessage {
    public var clockSet: Bool
    public var generatorReseeded: Bool
    public var identitySet: Bool
    public var diskGrown: Bool
    /// True as well when it was not asked for.
    public var connectionsDropped: Bool
    /// No SSH host key from before the thaw is left; true as well when it was not asked for.
    public var hostKeysRenewed: Bool
    /// True as well when there was no certificate to trust.
    public var certificateTrusted: Bool

    public init(
        clockSet: Bool, generatorReseeded: Bool, identitySet: Bool, diskGrown: Bool,
        connectionsDropped: Bool = true, hostKeysRenewed: Bool = true, certificateTrusted: Bool = true
    ) {
        self.clockSet = clockSet
        self.generatorReseeded = generatorReseeded
        self.identitySet = identitySet
        self.diskGrown = diskGrown
        self.connectionsDropped = connectionsDropped
        self.hostKeysRenewed = hostKeysRenewed
        self.certificateTrusted = certificateTrusted
    }

    /// Whether every promise was kept.
    public var isComplete: Bool {
        clockSet && generatorReseeded && identitySet && diskGrown && connectionsDropped && hostKeysRenewed
            && certificateTrusted
    }

    public func write(to writer: inout WireWriter) {
        writer.bool(clockSet)
        writer.bool(generatorReseeded)
        writer.bool(identitySet)
        writer.bool(diskGrown)
        writer.bool(connectionsDropped)
        writer.bool(hostKeysRenewed)
        writer.bool(certificateTrusted)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        clockSet = try reader.bool()
        generatorReseeded = try reader.bool()
        identitySet = try reader.bool()
        diskGrown = try reader.bool()
        connectionsDropped = try reader.bool(ifAbsent: true)
        hostKeysRenewed = try reader.bool(ifAbsent: true)
        certificateTrusted = try reader.bool(ifAbsent: true)
    }
}

/// Holds every program still: none runs until `release`, or until a thaw that kept all its promises.
public struct Hold: WireMessage {
    /// How long to wait for the last program to stand still.
    public var timeoutMilliseconds: UInt32
    /// Brings everything written to the disk once the programs are held.
    public var flush: Bool
    /// Looks already now for what a copy has to do away with when it is thawed: that is quick here, and slow there.
    public var surveys: Bool

    public init(timeoutMilliseconds: UInt32, flush: Bool, surveys: Bool = false) {
        self.timeoutMilliseconds = timeoutMilliseconds
        self.flush = flush
        self.surveys = surveys
    }

    public func write(to writer: inout WireWriter) {
        writer.u32(timeoutMilliseconds)
        writer.bool(flush)
        writer.bool(surveys)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        timeoutMilliseconds = try reader.u32()
        flush = try reader.bool()
        surveys = try reader.bool(ifAbsent: false)
    }
}

/// Answer to `hold`.
public struct Held: WireMessage {
    /// Whether every program stands still. When not, those that could be stopped are, until `release`.
    public var frozen: Bool
    /// Whether everything written is on the disk; false when that was not asked for.
    public var flushed: Bool

    public init(frozen: Bool, flushed: Bool) {
        self.frozen = frozen
        self.flushed = flushed
    }

    public func write(to writer: inout WireWriter) {
        writer.bool(frozen)
        writer.bool(flushed)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        frozen = try reader.bool()
        flushed = try reader.bool()
    }
}

/// Answer to `metrics`: counters since the guest's kernel started, sizes in bytes.
public struct GuestMetrics: WireMessage {
    public var uptimeMilliseconds: UInt64 = 0
    public var cpuUserMilliseconds: UInt64 = 0
    public var cpuSystemMilliseconds: UInt64 = 0
    public var cpuIdleMilliseconds: UInt64 = 0
    public var loadAverageMilli: UInt64 = 0
    public var memoryTotal: UInt64 = 0
    public var memoryAvailable: UInt64 = 0
    public var diskTotal: UInt64 = 0
    public var diskUsed: UInt64 = 0
    public var diskReadBytes: UInt64 = 0
    public var diskWrittenBytes: UInt64 = 0
    public var networkReceivedBytes: UInt64 = 0
    public var networkSentBytes: UInt64 = 0
    public var processes: UInt64 = 0

    public init() {}

    static let fields: [any WritableKeyPath<GuestMetrics, UInt64> & Sendable] = [
        \.uptimeMilliseconds, \.cpuUserMilliseconds, \.cpuSystemMilliseconds, \.cpuIdleMilliseconds,
        \.loadAverageMilli, \.memoryTotal, \.memoryAvailable, \.diskTotal, \.diskUsed, \.diskReadBytes,
        \.diskWrittenBytes, \.networkReceivedBytes, \.networkSentBytes, \.processes,
    ]

    public func write(to writer: inout WireWriter) {
        for field in GuestMetrics.fields { writer.u64(self[keyPath: field]) }
    }

    public init(from reader: inout WireReader) throws(WireError) {
        for field in GuestMetrics.fields { self[keyPath: field] = try reader.u64() }
    }
}
