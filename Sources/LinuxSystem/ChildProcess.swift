import CLinux
import Glibc

/// What to start: a program, its surroundings, and which descriptors it gets.
public struct SpawnRequest: Sendable {
    /// Who the child runs as.
    public struct Identity: Sendable, Equatable {
        public var uid: UInt32
        public var gid: UInt32
        public var groups: [UInt32]

        public init(uid: UInt32, gid: UInt32, groups: [UInt32] = []) {
            self.uid = uid
            self.gid = gid
            self.groups = groups
        }
    }

    /// An absolute path.
    public var program: String
    /// The whole argument vector, the program's name included.
    public var arguments: [String]
    /// `NAME=value` pairs; nothing is inherited.
    public var environment: [String]
    public var directory: String?
    /// Descriptor `i` of the child is `descriptors[i]` here; nil is /dev/null. Nothing else is passed on.
    public var descriptors: [Int32?]
    public var newSession = true
    public var controllingTerminal = false
    public var identity: Identity?
    public var noNewPrivileges = false
    public var maxProcesses: Int64?
    public var maxOpenFiles: Int64?
    /// The `cgroup.procs` of a group in each version 1 tree, open for writing: the child is in all of them from the start.
    public var cgroupProcs: [Int32] = []
    /// An open directory of a version 2 cgroup: the child is born in it, together with all its descendants.
    public var cgroup: Int32?
    /// Says that `cgroup` is frozen: the program is loaded, and frozen there before its first instruction.
    public var cgroupIsFrozen = false
    /// The signals the caller ignores, as bits `1 << number`; only these are reset in the child. 0 resets all, which
    /// costs a system call for each.
    public var ignoredSignals: UInt64 = 0
    public var oomScoreAdjustment: Int32?
    /// An open network namespace the child lives in; nil is the caller's own.
    public var networkNamespace: Int32?
    /// Namespaces the child gets of its own. With `.pid` it is the first process of one: all of it ends with the child.
    public var newNamespaces: NamespaceKinds = []

    public init(program: String, arguments: [String], environment: [String], descriptors: [Int32?] = [nil, nil, nil]) {
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.descriptors = descriptors
    }
}

/// A spawn that failed, and at which step.
public struct SpawnError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Stage: Int32, Sendable {
        case fork = 1
        case session, namespace, descriptors, limits, cgroup, identity, directory, terminal, exec
    }
    public var stage: Stage
    public var program: String
    public var errno: Int32

    public var description: String { "start \(program): \(stage): \(String(cString: strerror(errno)))" }
}

/// A started child: its pid and a pidfd that names it for as long as it is held.
public struct ChildProcess: Sendable {
    public let pid: pid_t
    /// Nil where the kernel has no pidfd.
    public let pidfd: Descriptor?

    /// Starts a program; returns when its exec has succeeded.
    ///
    /// Blocks the calling thread for the time of one exec (about a millisecond).
    public static func spawn(_ request: SpawnRequest) throws(SpawnError) -> ChildProcess {
        var pidfd: Int32 = -1
        var stage: Int32 = 0
        let pid = withCStrings(request.arguments) { argv in
            withCStrings(request.environment) { envp in
                request.program.withCString { program in
                    withOptionalCString(request.directory) { directory in
                        request.descriptors.map { $0 ?? -1 }.withUnsafeBufferPointer { fds in
                            (request.identity?.groups ?? []).withUnsafeBufferPointer { groups in
                                request.cgroupProcs.withUnsafeBufferPointer { procs in
                                    var spec = clinux_spawn_spec()
                                    spec.path = program
                                    spec.argv = argv
                                    spec.envp = envp
                                    spec.directory = directory
                                    spec.fds = fds.baseAddress
                                    spec.fd_count = Int32(fds.count)
                                    spec.new_session = request.newSession ? 1 : 0
                                    spec.controlling_terminal = request.controllingTerminal ? 1 : 0
                                    spec.set_identity = request.identity == nil ? 0 : 1
                                    spec.uid = request.identity?.uid ?? 0
                                    spec.gid = request.identity?.gid ?? 0
                                    spec.groups = groups.baseAddress
                                    spec.group_count = Int32(groups.count)
                                    spec.no_new_privileges = request.noNewPrivileges ? 1 : 0
                                    spec.max_processes = request.maxProcesses ?? -1
                                    spec.max_open_files = request.maxOpenFiles ?? -1
                                    spec.cgroup_procs_fds = procs.baseAddress
                                    spec.cgroup_procs_count = Int32(procs.count)
                                    spec.cgroup_fd = request.cgroup ?? -1
                                    spec.cgroup_is_frozen = request.cgroupIsFrozen ? 1 : 0
                                    spec.reset_signals = request.ignoredSignals
                                    spec.network_namespace_fd = request.networkNamespace ?? -1
                                    spec.oom_score_adj = request.oomScoreAdjustment ?? .min
                                    spec.new_namespaces = request.newNamespaces.rawValue
                                    return clinux_spawn(&spec, &pidfd, &stage)
                                }
                            }
                        }
                    }
                }
            }
        }
        guard pid > 0 else {
            throw SpawnError(stage: .init(rawValue: stage) ?? .fork, program: request.program, errno: -pid)
        }
        return ChildProcess(pid: pid, pidfd: pidfd >= 0 ? Descriptor(owning: pidfd) : nil)
    }
}

/// Calls `body` with a NULL-terminated array of C strings that live as long as the call.
private func withCStrings<R>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
) -> R {
    // SAFETY: every copy is freed after body returns; the array is not kept by the callee beyond that.
    var copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    copies.append(nil)
    defer { for copy in copies { free(copy) } }
    return copies.withUnsafeBufferPointer { body($0.baseAddress!) }
}

private func withOptionalCString<R>(_ string: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
    guard let string else { return body(nil) }
    return string.withCString { body($0) }
}
