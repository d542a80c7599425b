#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

// From linux/sched.h, which does not go together with glibc's sched.h.
#define CLONE_INTO_CGROUP 0x200000000ULL
struct clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

// What the child needs beyond the spec; it lives on the parent's stack, which vfork shares with the child.
typedef struct {
    const clinux_spawn_spec *spec;
    sigset_t empty;
    volatile int stage;
    volatile int error;
} spawn_frame;

static int is_held(const clinux_spawn_spec *spec) { return spec->cgroup_fd >= 0 && spec->cgroup_is_frozen; }

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t ignored = write(fd, text, strlen(text));
    (void)ignored;
    close(fd);
}

// Runs between vfork and exec in the parent's address space: system calls only. glibc's setuid family must not be
// called, since it signals every thread of the process; the raw calls change this task alone.
static void spawn_child(spawn_frame *frame) {
    const clinux_spawn_spec *spec = frame->spec;
#define CHECK(STAGE, call) \
    do { frame->stage = (STAGE); if ((call) < 0) { frame->error = errno; _exit(127); } } while (0)

    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) {
        if (spec->reset_signals && !(spec->reset_signals >> number & 1)) continue;
        // The two signals glibc keeps for itself are refused; so are KILL and STOP. All four may stay.
        sigaction(number, &standard, NULL);
    }

    // Before the identity changes: set-user-id programs keep their meaning only under a privileged tracer, and the
    // kernel takes the tracee's own credentials at this point for the tracer's.
    if (is_held(spec)) CHECK(CLINUX_STAGE_CGROUP, syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0));
    if (spec->new_session) CHECK(CLINUX_STAGE_SESSION, setsid());
    // While its descriptor is still where the caller had it. A namespace of this kind is the task's own, not the
    // memory's, so the parent stays where it is.
    if (spec->network_namespace_fd >= 0)
        CHECK(CLINUX_STAGE_NAMESPACE, syscall(SYS_setns, spec->network_namespace_fd, CLONE_NEWNET));

    // First out of the way of their targets, then into place, then everything else is closed.
    int moved[32];
    if (spec->fd_count > 32) { frame->stage = CLINUX_STAGE_DESCRIPTORS; frame->error = EINVAL; _exit(127); }
    for (int i = 0; i < spec->fd_count; i++) {
        int source = spec->fds[i];
        if (source < 0) {
            CHECK(CLINUX_STAGE_DESCRIPTORS, source = open("/dev/null", O_RDWR | O_CLOEXEC));
        }
        CHECK(CLINUX_STAGE_DESCRIPTORS, moved[i] = fcntl(source, F_DUPFD_CLOEXEC, spec->fd_count + 3));
    }
    // Before its descriptors may be overwritten by those of the child's own.
    for (int i = 0; i < spec->cgroup_procs_count; i++)
        CHECK(CLINUX_STAGE_CGROUP, write(spec->cgroup_procs_fds[i], "0", 1));
    for (int i = 0; i < spec->fd_count; i++) CHECK(CLINUX_STAGE_DESCRIPTORS, dup2(moved[i], i));

    if (spec->oom_score_adj != INT_MIN) {
        char text[16];
        int value = spec->oom_score_adj, length = 0, negative = value < 0;
        char digits[12];
        unsigned magnitude = negative ? (unsigned)-value : (unsigned)value;
        do { digits[length++] = (char)('0' + magnitude % 10); magnitude /= 10; } while (magnitude);
        int at = 0;
        if (negative) text[at++] = '-';
        while (length) text[at++] = digits[--length];
        text[at] = 0;
        write_text("/proc/self/oom_score_adj", text);
    }

    // Everything else goes at exec, whoever opened it without O_CLOEXEC.
    syscall(SYS_close_range, (unsigned)spec->fd_count, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);

    if (spec->max_processes >= 0) {
        struct rlimit limit = {(rlim_t)spec->max_processes, (rlim_t)spec->max_processes};
        CHECK(CLINUX_STAGE_LIMITS, syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &limit, NULL));
    }
    if (spec->max_open_files >= 0) {
        struct rlimit limit = {(rlim_t)spec->max_open_files, (rlim_t)spec->max_open_files};
        CHECK(CLINUX_STAGE_LIMITS, syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, NULL));
    }
    if (spec->controlling_terminal) CHECK(CLINUX_STAGE_TERMINAL, ioctl(0, TIOCSCTTY, 0));
    if (spec->set_identity) {
        CHECK(CLINUX_STAGE_IDENTITY, syscall(SYS_setgroups, (size_t)spec->group_count, spec->groups));
        CHECK(CLINUX_STAGE_IDENTITY, syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid));
        CHECK(CLINUX_STAGE_IDENTITY, syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid));
    }
    if (spec->directory) CHECK(CLINUX_STAGE_DIRECTORY, chdir(spec->directory));
    if (spec->no_new_privileges) CHECK(CLINUX_STAGE_IDENTITY, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &frame->empty, NULL, 8);
    frame->stage = CLINUX_STAGE_EXEC;
    execve(spec->path, spec->argv, spec->envp);
    frame->error = errno;
    _exit(127);
#undef CHECK
}

static void spawn_child_entry(void *frame) {
    spawn_child(frame);
    _exit(127);
}

// vfork with the child born in a cgroup (moving it there afterwards would make the kernel wait for every other task) or
// in namespaces of its own.
// The child runs `spawn_child_entry` on a stack of its own, so nothing of the caller's frame is overwritten.
static pid_t spawn_by_clone(spawn_frame *frame, int *pidfd) {
    _Alignas(16) char stack[32768];
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | frame->spec->new_namespaces
            | (frame->spec->cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = sizeof stack,
        .cgroup = frame->spec->cgroup_fd >= 0 ? (uint64_t)frame->spec->cgroup_fd : 0,
    };
#if defined(__x86_64__)
    register long result __asm__("rax") = SYS_clone3;
    register void *first __asm__("rdi") = &args;
    register long second __asm__("rsi") = sizeof args;
    register void (*entry)(void *) __asm__("r12") = spawn_child_entry;
    register void *argument __asm__("r13") = frame;
    __asm__ volatile(
        "syscall\n\ttestq %%rax, %%rax\n\tjnz 1f\n\txorl %%ebp, %%ebp\n\tmovq %%r13, %%rdi\n\tcallq *%%r12\n\tud2\n1:"
        : "+r"(result) : "r"(first), "r"(second), "r"(entry), "r"(argument) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_clone3;
    register long result __asm__("x0") = (long)&args;
    register long second __asm__("x1") = sizeof args;
    register void (*entry)(void *) __asm__("x19") = spawn_child_entry;
    register void *argument __asm__("x20") = frame;
    __asm__ volatile("svc #0\n\tcbnz x0, 1f\n\tmov x0, x20\n\tblr x19\n\tbrk #0\n1:"
        : "+r"(result) : "r"(number), "r"(second), "r"(entry), "r"(argument) : "memory");
#else
    long result = -ENOSYS;
    (void)args;
#endif
    return (pid_t)result;
}

// Puts a child that stopped at its exec, being traced, into its frozen cgroup and lets go of it: it goes from the one
// stop into the other without an instruction of the program. A child born in a frozen cgroup would stop before its
// exec, and the vfork would wait for it for ever.
static int hand_over(pid_t pid, int cgroup) {
    int status;
    pid_t got;
    do { got = waitpid(pid, &status, __WALL); } while (got < 0 && errno == EINTR);
    if (got < 0) return errno;
    if (!WIFSTOPPED(status)) return EAGAIN;  // killed already, and reaped by this very call
    char digits[12];
    int at = sizeof digits, error = 0;
    for (pid_t rest = pid; rest; rest /= 10) digits[--at] = (char)('0' + rest % 10);
    int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (procs < 0 || write(procs, digits + at, sizeof digits - (size_t)at) < 0) error = errno;
    if (procs >= 0) close(procs);
    if (!error && ptrace(PTRACE_DETACH, pid, 0, 0) < 0) error = errno;
    if (error) {
        kill(pid, SIGKILL);
        do { got = waitpid(pid, &status, __WALL); } while ((got < 0 && errno == EINTR) || (got > 0 && WIFSTOPPED(status)));
    }
    return error;
}

pid_t clinux_spawn(const clinux_spawn_spec *spec, int *pidfd, int *stage) {
    spawn_frame frame;
    frame.spec = spec;
    frame.stage = CLINUX_STAGE_FORK;
    frame.error = 0;
    sigemptyset(&frame.empty);
    *pidfd = -1;

    // No handler of ours may run in the child while it shares our memory.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pid_t pid;
    int error;
    if ((spec->cgroup_fd >= 0 || spec->new_namespaces) && !is_held(spec)) {
        pid = spawn_by_clone(&frame, pidfd);
        error = pid < 0 ? (int)-pid : frame.error;
    } else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        pid = vfork();
#pragma GCC diagnostic pop
        if (pid == 0) {
            spawn_child(&frame);
            _exit(127);
        }
        error = pid < 0 ? errno : frame.error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    *stage = frame.stage;
    if (pid < 0) return -error;
    if (error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        if (*pidfd >= 0) close(*pidfd);
        *pidfd = -1;
        return -error;
    }
    if (is_held(spec) && (error = hand_over(pid, spec->cgroup_fd))) {
        *stage = CLINUX_STAGE_CGROUP;
        return -error;
    }
    if (*pidfd >= 0) return pid;
    // The child cannot be reaped by anyone but our caller, so the pid still names it.
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0) *pidfd = fd;
    return pid;
}

int clinux_pidfd_open(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int clinux_pidfd_send_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int clinux_kill(pid_t pid, int signal) { return kill(pid, signal) < 0 ? -errno : 0; }

int clinux_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0; }

int clinux_pidfd_reap(int pidfd) {
    siginfo_t info;
    // P_PIDFD: by number, since older C libraries do not name it.
    int result;
    do { result = waitid((idtype_t)3, (id_t)pidfd, &info, WEXITED | WNOHANG); } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

int clinux_reap(pid_t pid, clinux_exit *out) {
    int status;
    struct rusage usage;
    pid_t got;
    do { got = wait4(pid, &status, WNOHANG, &usage); } while (got < 0 && errno == EINTR);
    if (got < 0) return -errno;
    if (got == 0) return 0;
    memset(out, 0, sizeof *out);
    out->pid = got;
    if (WIFSIGNALED(status)) out->signal = WTERMSIG(status);
    else out->code = WEXITSTATUS(status);
    out->user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec;
    out->system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec;
    out->max_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    return 1;
}

int clinux_open_terminal(int *main, int *replica, unsigned short rows, unsigned short columns) {
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int unlock = 0, error;
    if (ioctl(fd, TIOCSPTLCK, &unlock) < 0) goto fail;
    int peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), number;
    if (peer < 0 && errno == ENOTTY && ioctl(fd, TIOCGPTN, &number) == 0) {
        // gVisor's kernel has no such call.
        char path[32];
        snprintf(path, sizeof path, "/dev/pts/%d", number);
        peer = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    if (peer < 0) goto fail;
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    ioctl(peer, TIOCSWINSZ, &size);
    *main = fd;
    *replica = peer;
    return 0;
fail:
    error = -errno;
    close(fd);
    return error;
}

int clinux_resize_terminal(int fd, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

size_t clinux_termios_size(void) { return sizeof(struct termios); }

int clinux_terminal_raw(int fd, void *saved) {
    struct termios mode;
    if (tcgetattr(fd, &mode) < 0) return -errno;
    memcpy(saved, &mode, sizeof mode);
    cfmakeraw(&mode);
    return tcsetattr(fd, TCSADRAIN, &mode) < 0 ? -errno : 0;
}

int clinux_terminal_restore(int fd, const void *saved) {
    struct termios mode;
    memcpy(&mode, saved, sizeof mode);
    return tcsetattr(fd, TCSADRAIN, &mode) < 0 ? -errno : 0;
}

int clinux_terminal_size(int fd, unsigned short *rows, unsigned short *columns) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0) return -errno;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}

int clinux_process_memory(pid_t pid, uint64_t *private_bytes, uint64_t *proportional_bytes) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) return -errno;
    uint64_t clean = 0, dirty = 0, share = 0, value;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Private_Clean: %lu", &value) == 1) clean = value;
        else if (sscanf(line, "Private_Dirty: %lu", &value) == 1) dirty = value;
        else if (sscanf(line, "Pss: %lu", &value) == 1) share = value;
    }
    fclose(file);
    *private_bytes = (clean + dirty) * 1024;
    *proportional_bytes = share * 1024;
    return 0;
}
