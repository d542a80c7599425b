import LinuxSystem

/// The system calls of a process sandbox. What is not named here does not exist for its programs (ENOSYS), so that
/// libraries fall back; what is dangerous and well known is refused (EPERM).
enum JailSystemCalls {
    /// The filter, compiled.
    static let program = filter.compiled()

    private static let notPermitted = SystemCallFilter.Action.fail(errno: 1)
    private static let noSuchCall = SystemCallFilter.Action.fail(errno: 38)
    private static let noSuchFamily = SystemCallFilter.Action.fail(errno: 97)
    /// CLONE_NEW* as clone(2) takes them.
    private static let namespaces: UInt32 = 0x7e02_0000
    /// CLONE_NEWTIME, for unshare(2) only.
    private static let timeNamespace: UInt32 = 0x80

    static var filter: SystemCallFilter {
        var filter = SystemCallFilter(otherwise: noSuchCall)
        filter.allow(files + memory + processes + identity + signals + time + descriptors + sockets + queues)
        // Processes and threads, but no namespaces. The arguments of clone3 cannot be looked at: it makes none either, for
        // the sandbox may have no user namespaces and its programs no CAP_SYS_ADMIN.
        filter.add(.clone, when: [.masked(argument: 0, mask: namespaces, 0)], .allow)
        filter.add(.unshare, when: [.masked(argument: 0, mask: namespaces | timeNamespace, 0)], .allow)
        filter.allow([.clone3])
        // Networks and the sandbox's own sockets; of netlink only what lists addresses and routes.
        for family: UInt64 in [1, 2, 10] { filter.add(.socket, when: [.equals(argument: 0, family)], .allow) }
        filter.add(.socket, when: [.equals(argument: 0, 16), .equals(argument: 2, 0)], .allow)
        filter.add(.socket, noSuchFamily)
        // Typing into terminals, of which there are none but the sandbox's own.
        for request: UInt32 in [0x5412, 0x541c] {
            filter.add(.ioctl, when: [.masked(argument: 1, mask: .max, request)], notPermitted)
        }
        filter.allow([.ioctl])
        // Linux as it is, and without address randomisation, which debuggers of the own program want.
        for persona: UInt64 in [0, 8, 0x20000, 0x20008, 0x40000, 0xffff_ffff] {
            filter.add(.personality, when: [.equals(argument: 0, persona)], .allow)
        }
        for call in refused { filter.add(call, notPermitted) }
        return filter
    }

    private static let files: [SystemCall] = [
        .read, .write, .open, .openat, .openat2, .creat, .close, .stat, .fstat, .lstat, .newfstatat, .statx, .statfs,
        .fstatfs, .access, .faccessat, .faccessat2, .lseek, .pread64, .pwrite64, .readv, .writev, .preadv, .pwritev,
        .preadv2, .pwritev2, .getdents, .getdents64, .getcwd, .chdir, .fchdir, .rename, .renameat, .renameat2, .mkdir,
        .mkdirat, .rmdir, .link, .linkat, .unlink, .unlinkat, .symlink, .symlinkat, .readlink, .readlinkat, .chmod,
        .fchmod, .fchmodat, .fchmodat2, .chown, .fchown, .lchown, .fchownat, .umask, .truncate, .ftruncate, .fallocate,
        .fsync, .fdatasync, .sync, .syncfs, .sync_file_range, .utime, .utimes, .futimesat, .utimensat, .setxattr,
        .lsetxattr, .fsetxattr, .getxattr, .lgetxattr, .fgetxattr, .listxattr, .llistxattr, .flistxattr, .removexattr,
        .lremovexattr, .fremovexattr, .mknod, .mknodat, .flock, .fcntl, .sendfile, .copy_file_range, .splice, .tee,
        .vmsplice, .readahead, .fadvise64, .inotify_init, .inotify_init1, .inotify_add_watch, .inotify_rm_watch,
        .chroot,
        .cachestat,
    ]

    private static let memory: [SystemCall] = [
        .mmap, .munmap, .mprotect, .mremap, .msync, .mincore, .madvise, .brk, .mlock, .mlock2, .munlock, .mlockall,
        .munlockall, .remap_file_pages, .memfd_create, .membarrier, .pkey_mprotect, .pkey_alloc, .pkey_free,
        .map_shadow_stack, .shmget, .shmat, .shmctl, .shmdt, .get_mempolicy,
    ]

    private static let processes: [SystemCall] = [
        .fork, .vfork, .execve, .execveat, .exit, .exit_group, .wait4, .waitid, .getpid, .gettid, .getppid, .getpgid,
        .getpgrp, .setpgid, .getsid, .setsid, .prctl, .arch_prctl, .set_tid_address, .set_robust_list, .get_robust_list,
        .set_thread_area, .get_thread_area, .rseq, .futex, .futex_wait, .futex_wake, .futex_requeue, .futex_waitv,
        .sched_yield, .sched_getaffinity, .sched_setaffinity, .sched_getparam, .sched_setparam, .sched_getscheduler,
        .sched_setscheduler, .sched_getattr, .sched_setattr, .sched_get_priority_max, .sched_get_priority_min,
        .sched_rr_get_interval, .getpriority, .setpriority, .ioprio_get, .ioprio_set, .getrlimit, .setrlimit,
        .prlimit64,
        .getrusage, .sysinfo, .uname, .times, .getcpu, .restart_syscall, .pidfd_open, .pidfd_send_signal, .sethostname,
    ]

    private static let identity: [SystemCall] = [
        .getuid, .geteuid, .getgid, .getegid, .getresuid, .getresgid, .getgroups, .setuid, .setgid, .setreuid,
        .setregid,
        .setresuid, .setresgid, .setgroups, .setfsuid, .setfsgid, .capget, .capset, .seccomp, .landlock_create_ruleset,
        .landlock_add_rule, .landlock_restrict_self, .getrandom,
    ]

    private static let signals: [SystemCall] = [
        .rt_sigaction, .rt_sigprocmask, .rt_sigreturn, .rt_sigpending, .rt_sigtimedwait, .rt_sigqueueinfo,
        .rt_tgsigqueueinfo, .rt_sigsuspend, .sigaltstack, .kill, .tkill, .tgkill, .pause, .alarm, .signalfd, .signalfd4,
    ]

    private static let time: [SystemCall] = [
        .time, .gettimeofday, .clock_gettime, .clock_getres, .clock_nanosleep, .nanosleep, .getitimer, .setitimer,
        .timer_create, .timer_settime, .timer_gettime, .timer_getoverrun, .timer_delete, .timerfd_create,
        .timerfd_settime, .timerfd_gettime,
    ]

    private static let descriptors: [SystemCall] = [
        .dup, .dup2, .dup3, .pipe, .pipe2, .close_range, .poll, .ppoll, .select, .pselect6, .epoll_create,
        .epoll_create1, .epoll_ctl, .epoll_wait, .epoll_pwait, .epoll_pwait2, .eventfd, .eventfd2,
    ]

    private static let sockets: [SystemCall] = [
        .socketpair, .connect, .accept, .accept4, .bind, .listen, .getsockname, .getpeername, .setsockopt, .getsockopt,
        .shutdown, .sendto, .recvfrom, .sendmsg, .recvmsg, .sendmmsg, .recvmmsg,
    ]

    private static let queues: [SystemCall] = [
        .semget, .semop, .semtimedop, .semctl, .msgget, .msgsnd, .msgrcv, .msgctl, .mq_open, .mq_unlink, .mq_timedsend,
        .mq_timedreceive, .mq_notify, .mq_getsetattr, .io_setup, .io_destroy, .io_submit, .io_cancel, .io_getevents,
        .io_pgetevents,
    ]

    /// Other processes' insides, mounts and namespaces, the kernel's own matters, and what most holes were found in.
    private static let refused: [SystemCall] = [
        .clone, .unshare, .setns, .personality, .ptrace, .process_vm_readv, .process_vm_writev, .process_madvise,
        .process_mrelease, .pidfd_getfd, .kcmp, .mount, .umount2, .pivot_root, .move_mount, .open_tree, .fsopen,
        .fsmount,
        .fsconfig, .fspick, .mount_setattr, .statmount, .listmount, .name_to_handle_at, .open_by_handle_at, .quotactl,
        .quotactl_fd, .keyctl, .add_key, .request_key, .bpf, .perf_event_open, .userfaultfd, .io_uring_setup,
        .io_uring_enter, .io_uring_register, .memfd_secret, .init_module, .finit_module, .delete_module, .kexec_load,
        .kexec_file_load, .reboot, .swapon, .swapoff, .acct, .syslog, .iopl, .ioperm, .modify_ldt, .settimeofday,
        .clock_settime, .adjtimex, .clock_adjtime, .setdomainname, .vhangup, .fanotify_init, .fanotify_mark,
        .lookup_dcookie, .migrate_pages, .move_pages, .mbind, .set_mempolicy, .set_mempolicy_home_node, .sysfs, .uselib,
        .ustat, .nfsservctl,
    ]
}
