/// How a process is shut in, and the program it then becomes.
///
/// Written by the daemon, read by `martlet-jailer` from a descriptor; see `Jailer` for what is done with it.
public struct JailSpec: Sendable, Equatable {
    /// A file or directory that appears in the jail.
    public struct Bind: Sendable, Equatable {
        /// On the host.
        public var source: String
        /// In the jail: absolute, and there already in the jail's root.
        public var target: String
        public var isWritable: Bool
        /// Whether device files work below it; for a bind of one device.
        public var hasDevices: Bool

        public init(_ source: String, at target: String, isWritable: Bool = false, hasDevices: Bool = false) {
            self.source = source
            self.target = target
            self.isWritable = isWritable
            self.hasDevices = hasDevices
        }
    }

    /// A limit on one process.
    public struct Limit: Sendable, Equatable {
        /// What is limited, by the kernel's number (RLIMIT_* in asm-generic/resource.h).
        public enum Resource: UInt32, Sendable {
            /// Bytes of a file it writes.
            case fileSize = 1
            case coreFile = 4
            case openFiles = 7
            /// Bytes.
            case lockedMemory = 8
            /// Bytes in POSIX message queues.
            case messageQueues = 12
        }

        public var resource: Resource
        public var value: UInt64

        public init(_ resource: Resource, _ value: UInt64) {
            self.resource = resource
            self.value = value
        }
    }

    /// A directory of the host that becomes the root, read-only.
    public var root: String
    public var binds: [Bind]
    public var uid: UInt32
    public var gid: UInt32
    public var hostname: String
    public var limits: [Limit]
    /// A filter of system calls, as `SystemCallFilter` compiles it; in force from before the program starts, so that it
    /// has to let it start.
    public var filter: [UInt8]
    /// In the jail.
    public var program: String
    /// The program's name included.
    public var arguments: [String]
    public var environment: [String]

    public init(root: String, uid: UInt32, gid: UInt32, hostname: String, program: String, arguments: [String]) {
        self.root = root
        self.uid = uid
        self.gid = gid
        self.hostname = hostname
        self.program = program
        self.arguments = arguments
        binds = []
        limits = []
        filter = []
        environment = []
    }
}
