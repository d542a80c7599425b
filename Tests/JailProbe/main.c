// What a QEMU that was taken over would try, from inside its jail. Tests start it in QEMU's place, with the arguments QEMU
// gets: the end of the process's name says what to do. Prints `NAME: RESULT` lines; a result is 0 or an error number.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *name, long result) {
    printf("%s: %ld\n", name, result);
    fflush(stdout);
}

#define TRY(name, ...) (errno = 0, say(name, syscall(__VA_ARGS__) < 0 ? errno : 0))

static void try_open(const char *prefix, const char *path, int flags) {
    char name[128];
    snprintf(name, sizeof name, "%s%s", prefix, path);
    int fd = open(path, flags, 0600);
    say(name, fd < 0 ? errno : 0);
    if (fd >= 0) close(fd);
}

static void look_around(void) {
    const char *paths[] = {
        "/etc/passwd", "/etc/shadow", "/root", "/home", "/tmp", "/var", "/run", "/proc/self/status", "/sys/kernel",
        "/bin/sh", "/usr/bin/python3", "/machine/../../../../etc/passwd",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) try_open("host ", paths[i], O_RDONLY);
    const char *devices[] = {
        "/dev/mem", "/dev/vda", "/dev/sda", "/dev/loop0", "/dev/tty", "/dev/console", "/dev/fuse", "/dev/net/tun",
        "/dev/kmsg",
    };
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) try_open("host ", devices[i], O_RDWR);
    try_open("refused ", "/machine/sandbox.json", O_RDONLY);
    try_open("refused ", "/base/memory", O_RDWR);
    try_open("refused ", "/machine/new", O_WRONLY | O_CREAT);
    try_open("refused ", "/new", O_WRONLY | O_CREAT);
    try_open("refused ", "/dev/new", O_WRONLY | O_CREAT);
    try_open("refused ", "/dev/kvm", O_RDWR | O_DIRECT | O_TMPFILE);
    say("refused unlink", unlink("/machine/disk.qcow2") < 0 ? errno : 0);
    try_open("own ", "/machine/disk.qcow2", O_RDWR);
    try_open("own ", "/base/memory", O_RDONLY);
    try_open("own ", "/dev/urandom", O_RDONLY);
    say("is root", getuid() == 0 || geteuid() == 0 || getgid() == 0 || getegid() == 0);
    say("pid", getpid());
}

static void call_forbidden(void) {
    TRY("ptrace", SYS_ptrace, 16, 1, 0, 0);
    TRY("process_vm_readv", SYS_process_vm_readv, 1, 0, 0, 0, 0, 0);
    TRY("kill", SYS_kill, -1, 0);
    TRY("tgkill outside", SYS_tgkill, getpid() + 1000, getpid() + 1000, 0);
    TRY("fork", SYS_fork);
    TRY("vfork", SYS_vfork);
    TRY("clone", SYS_clone, SIGCHLD, 0, 0, 0, 0);
    TRY("clone user namespace", SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0);
    TRY("clone3", SYS_clone3, 0, 0);
    TRY("unshare", SYS_unshare, 0x10000000);
    TRY("setns", SYS_setns, 0, 0);
    TRY("mount", SYS_mount, "none", "/machine", "tmpfs", 0, 0);
    TRY("umount2", SYS_umount2, "/machine", 2);
    TRY("pivot_root", SYS_pivot_root, "/", "/");
    TRY("chroot", SYS_chroot, "/machine");
    TRY("open_tree", SYS_open_tree, -100, "/", 1);
    TRY("fsopen", SYS_fsopen, "tmpfs", 0);
    TRY("move_mount", SYS_move_mount, -100, "/", -100, "/", 0);
    TRY("init_module", SYS_init_module, 0, 0, "");
    TRY("finit_module", SYS_finit_module, 0, "", 0);
    TRY("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
    TRY("mknod", SYS_mknod, "/machine/node", 0020600, 0x101);
    TRY("chmod", SYS_chmod, "/machine/disk.qcow2", 04777);
    TRY("fchmod", SYS_fchmod, 1, 04777);
    TRY("chown", SYS_chown, "/machine/disk.qcow2", 0, 0);
    TRY("link", SYS_link, "/machine/disk.qcow2", "/machine/other");
    TRY("symlink", SYS_symlink, "/etc/passwd", "/machine/other");
    TRY("rename", SYS_rename, "/machine/disk.qcow2", "/machine/other");
    TRY("mkdir", SYS_mkdir, "/machine/new", 0700);
    TRY("socket unix", SYS_socket, 1, 1, 0);
    TRY("socket inet", SYS_socket, 2, 1, 0);
    TRY("socket inet6", SYS_socket, 10, 1, 0);
    TRY("socket netlink", SYS_socket, 16, 3, 0);
    TRY("socket packet", SYS_socket, 17, 3, 0);
    TRY("socket vsock", SYS_socket, 40, 1, 0);
    TRY("socketpair", SYS_socketpair, 1, 1, 0, 0);
    TRY("connect", SYS_connect, 3, "\1\0\0escape", 9);
    TRY("bind", SYS_bind, 3, "\1\0\0escape", 9);
    TRY("setuid", SYS_setuid, 0);
    TRY("setresuid", SYS_setresuid, 0, 0, 0);
    TRY("setgid", SYS_setgid, 0);
    TRY("setgroups", SYS_setgroups, 0, 0);
    TRY("capset", SYS_capset, 0, 0);
    TRY("setrlimit", SYS_setrlimit, 7, 0);
    long limits[2] = {1 << 20, 1 << 20};
    TRY("prlimit64", SYS_prlimit64, 0, 7, limits, 0);
    TRY("add_key", SYS_add_key, "user", "x", "y", 1, -3);
    TRY("keyctl", SYS_keyctl, 0, -3, 0, 0, 0);
    TRY("request_key", SYS_request_key, "user", "x", 0, 0);
    TRY("bpf", SYS_bpf, 0, 0, 0);
    TRY("perf_event_open", SYS_perf_event_open, 0, 0, -1, -1, 0);
    TRY("userfaultfd", SYS_userfaultfd, 0);
    TRY("io_uring_setup", SYS_io_uring_setup, 1, 0);
    TRY("open_by_handle_at", SYS_open_by_handle_at, 0, 0, 0);
    TRY("name_to_handle_at", SYS_name_to_handle_at, -100, "/", 0, 0, 0);
    TRY("pidfd_open", SYS_pidfd_open, 1, 0);
    TRY("pidfd_getfd", SYS_pidfd_getfd, 0, 0, 0);
    TRY("memfd_create", SYS_memfd_create, "x", 0);
    TRY("shmget", SYS_shmget, 1, 4096, 01600);
    TRY("msgget", SYS_msgget, 1, 01600);
    TRY("semget", SYS_semget, 1, 1, 01600);
    TRY("mq_open", SYS_mq_open, "x", O_CREAT, 0600, 0);
    TRY("reboot", SYS_reboot, 0xfee1dead, 672274793, 0, 0);
    TRY("sethostname", SYS_sethostname, "x", 1);
    TRY("settimeofday", SYS_settimeofday, 0, 0);
    TRY("clock_settime", SYS_clock_settime, 0, 0);
    TRY("swapon", SYS_swapon, "/machine/disk.qcow2", 0);
    TRY("acct", SYS_acct, 0);
    TRY("syslog", SYS_syslog, 3, 0, 0);
    TRY("iopl", SYS_iopl, 3);
    TRY("ioperm", SYS_ioperm, 0, 1, 1);
    TRY("personality", SYS_personality, 0x0040000);
    TRY("prctl dumpable", SYS_prctl, 4, 1, 0, 0, 0);
    TRY("prctl keepcaps", SYS_prctl, 8, 1, 0, 0, 0);
    TRY("sched_setscheduler", SYS_sched_setscheduler, 0, 1, 0);
    TRY("setpriority", SYS_setpriority, 0, 0, -20);
    TRY("mbind", SYS_mbind, 0, 0, 0, 0, 0, 0);
    TRY("quotactl", SYS_quotactl, 0, 0, 0, 0);
}

static void open_all(void) {
    long count = 0;
    while (open("/dev/null", O_RDONLY) >= 0) count++;
    say("error", errno);
    say("descriptors", count);
}

static void *wait_for_ever(void *unused) {
    pthread_mutex_t *lock = unused;
    pthread_mutex_lock(lock);
    return NULL;
}

static void start_threads(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    long count = 0;
    int error = 0;
    while (!error && count < 10000) {
        pthread_t thread;
        error = pthread_create(&thread, NULL, wait_for_ever, &lock);
        count += !error;
    }
    say("error", error);
    say("threads", count);
}

static void take_memory(void) {
    size_t size = 16 << 20;
    // Volatile: what nobody reads, the compiler would not take at all.
    for (char *volatile piece; (piece = malloc(size));) memset(piece, 1, size);
    say("error", errno);
}

static void fill_disk(void) {
    signal(SIGXFSZ, SIG_IGN);
    int file = open("/machine/disk.qcow2", O_WRONLY);
    static char block[4096];
    // Sparse: it is the size that is limited, and the host's disk is not to be filled by a test.
    off_t offset = 0;
    while (pwrite(file, block, sizeof block, offset) == sizeof block) offset += 1 << 20;
    say("error", errno);
    say("MiB", (long)(offset >> 20));
}

int main(int count, char **words) {
    // Until its limits are in force, as QEMU waits to be told to run a guest.
    char word;
    while (read(0, &word, 1) > 0) continue;
    const char *task = "";
    for (int i = 1; i + 1 < count; i++) {
        const char *end = strcmp(words[i], "-name") ? NULL : strrchr(words[i + 1], '-');
        if (end) task = end + 1;
    }
    if (!strcmp(task, "look")) look_around();
    else if (!strcmp(task, "calls")) call_forbidden();
    else if (!strcmp(task, "open")) open_all();
    else if (!strcmp(task, "threads")) start_threads();
    else if (!strcmp(task, "memory")) take_memory();
    else if (!strcmp(task, "disk")) fill_disk();
    else say("unknown task", 1);
    say("done", 0);
    _exit(0);
}
