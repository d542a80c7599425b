import CLinux
import Glibc
import LinuxSystem

/// Shuts its own process in, step by step, and becomes the program of a spec.
///
/// Runs in a program of its own that has one thread: namespaces and identities belong to threads, and nothing of a
/// daemon's memory is to be seen by what comes. Whoever starts it gives it new mount, pid, ipc and uts namespaces and the
/// network namespace it is to have; the rest is done here. Nothing is skipped: a step that fails ends it.
public enum Jailer {
    /// What it ends with when a step failed.
    public static let exitCode: Int32 = 125

    /// Reads a spec from a descriptor and becomes its program; returns only by throwing.
    public static func run(specDescriptor: Int32) throws(JailFailure) -> Never {
        let bytes: [UInt8]
        do {
            let channel = Descriptor(owning: specDescriptor)
            bytes = try channel.readAll(limit: JailSpec.maxBytes + 1)
            channel.close()
        } catch {
            throw JailFailure(step: "read the spec", object: "descriptor \(specDescriptor)", reason: "\(error)")
        }
        try become(try JailSpec(decoding: bytes))
    }

    private static func become(_ spec: JailSpec) throws(JailFailure) -> Never {
        guard clinux_thread_count() == 1 else {
            throw JailFailure(step: "look at ourselves", object: "/proc/self/task", reason: "there is not one thread")
        }
        guard spec.uid != 0, spec.gid != 0 else {
            throw JailFailure(step: "read the spec", object: spec.program, reason: "it is to run as root")
        }
        try hide(spec)
        for limit in spec.limits {
            try check(clinux_limit(Int32(limit.resource.rawValue), limit.value), "limit", "\(limit.resource)")
        }
        try check(clinux_become(spec.uid, spec.gid), "become", "user \(spec.uid)")
        try check(clinux_no_new_privileges(), "give up", "new privileges")
        let argv = cStrings(spec.arguments)
        let envp = cStrings(spec.environment)
        try check(
            spec.filter.withUnsafeBytes { clinux_filter_calls($0.baseAddress, $0.count / 8) }, "filter", "system calls")
        let result = clinux_exec(spec.program, argv, envp)
        throw failure(result, "exec", spec.program)
    }

    /// A root of its own, and nothing of the host's.
    private static func hide(_ spec: JailSpec) throws(JailFailure) {
        // Where it is in the trees of control groups is their top, for it.
        try check(clinux_unshare(UInt32(CLINUX_NEW_CGROUP)), "make", "a control group namespace")
        try check(clinux_set_hostname(spec.hostname, spec.hostname.utf8.count), "set", "host name")
        try check(clinux_mounts_private(), "make private", "mounts")
        try check(clinux_bind(spec.root, spec.root, CLINUX_BIND_READ_ONLY), "bind", spec.root)
        for bind in spec.binds {
            let flags =
                (bind.isWritable ? 0 : CLINUX_BIND_READ_ONLY) | CLINUX_BIND_NO_EXEC
                | (bind.hasDevices ? CLINUX_BIND_DEVICES : 0)
            try check(clinux_bind(bind.source, spec.root + bind.target, flags), "bind", bind.source)
        }
        try check(clinux_change_root(spec.root), "change root to", spec.root)
    }

    private static func check(_ result: Int32, _ step: String, _ object: String) throws(JailFailure) {
        if result < 0 { throw failure(result, step, object) }
    }

    private static func failure(_ result: Int32, _ step: String, _ object: String) -> JailFailure {
        JailFailure(step: step, object: object, reason: String(cString: strerror(-result)))
    }

    /// Kept until the process is another one.
    private static func cStrings(_ strings: [String]) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
        let list = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
        for (index, text) in strings.enumerated() { list[index] = strdup(text) }
        list[strings.count] = nil
        return list
    }
}
