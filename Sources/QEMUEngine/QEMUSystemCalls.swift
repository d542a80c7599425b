import Glibc
import LinuxSystem

/// The system calls a jailed QEMU may make: what its loader, its libraries and a microVM need, on top of which comes
/// QEMU's own filter. No sockets but those it was given, no processes, no files by other means than opening them, no
/// namespaces, mounts, keys, tracing, or performance counters.
enum QEMUSystemCalls {
    /// As `seccomp(2)` takes it.
    static let filter: [UInt8] = {
        // A refused call fails rather than ends the guest: libraries try what is new, and do without.
        var filter = SystemCallFilter(otherwise: .fail(errno: UInt16(EPERM)))
        filter.allow(memory + files + descriptors + threads + time + signals + identity + program)
        // Threads of its own, and nothing else, come of a clone. How clone3 is called cannot be looked at: told that it
        // is not there, the C library takes the other.
        filter.add(.clone, when: [.masked(argument: 0, mask: threadFlags, threadFlags)], .allow)
        filter.add(.clone3, .fail(errno: UInt16(ENOSYS)))
        for operation in [setName, setNoNewPrivileges, setSeccomp, setTimerSlack, setTransparentHugePages, setVMAName] {
            filter.add(.prctl, when: [.equals(argument: 0, operation)], .allow)
        }
        // Limits are read, never set.
        filter.add(.prlimit64, when: [.equals(argument: 2, 0)], .allow)
        return filter.compiled()
    }()

    /// CLONE_VM and CLONE_THREAD.
    private static let threadFlags: UInt32 = 0x0001_0100
    // linux/prctl.h
    private static let setName: UInt64 = 15
    private static let setSeccomp: UInt64 = 22
    private static let setTimerSlack: UInt64 = 29
    private static let setNoNewPrivileges: UInt64 = 38
    private static let setTransparentHugePages: UInt64 = 41
    private static let setVMAName: UInt64 = 0x5356_4d41

    private static let memory: [SystemCall] = [
        .mmap, .munmap, .mremap, .mprotect, .madvise, .brk, .mlock, .munlock, .msync, .mincore, .membarrier,
    ]
    private static let files: [SystemCall] = [
        .openat, .open, .read, .write, .readv, .writev, .pread64, .pwrite64, .preadv, .pwritev, .preadv2, .pwritev2,
        .lseek, .fstat, .stat, .lstat, .newfstatat, .statx, .fstatfs, .statfs, .ftruncate, .fallocate, .fsync,
        .fdatasync,
        .access, .faccessat, .faccessat2, .readlink, .readlinkat, .getcwd, .getdents64, .copy_file_range, .fadvise64,
        .unlink,
    ]
    private static let descriptors: [SystemCall] = [
        .close, .close_range, .dup, .dup2, .dup3, .fcntl, .flock, .ioctl, .pipe, .pipe2, .eventfd2, .poll, .ppoll,
        .select,
        .pselect6, .epoll_create1, .epoll_ctl, .epoll_wait, .epoll_pwait, .epoll_pwait2, .listen, .accept, .accept4,
        .getsockname,
        .getpeername, .getsockopt, .setsockopt, .sendmsg, .recvmsg, .sendto, .recvfrom, .shutdown,
    ]
    private static let threads: [SystemCall] = [
        .futex, .set_robust_list, .get_robust_list, .rseq, .set_tid_address, .arch_prctl, .sched_yield,
        .sched_getaffinity, .sched_getparam, .sched_getscheduler, .getcpu, .exit, .exit_group,
    ]
    private static let time: [SystemCall] = [
        .clock_gettime, .clock_getres, .clock_nanosleep, .gettimeofday, .nanosleep, .time, .timer_create,
        .timer_settime,
        .timer_gettime, .timer_delete, .timerfd_create, .timerfd_settime, .timerfd_gettime,
    ]
    private static let signals: [SystemCall] = [
        .rt_sigaction, .rt_sigprocmask, .rt_sigreturn, .rt_sigtimedwait, .rt_sigpending, .sigaltstack, .signalfd4,
        .tgkill,
        .tkill, .restart_syscall,
    ]
    private static let identity: [SystemCall] = [
        .getpid, .gettid, .getppid, .getuid, .geteuid, .getgid, .getegid, .getrandom, .uname, .sysinfo, .getrlimit,
        .getrusage,
    ]
    /// The jailer becomes QEMU behind the filter; QEMU's own filter then lets it become nothing else. It sets that one
    /// up by `seccomp`.
    private static let program: [SystemCall] = [.execve, .seccomp]
}
