// System calls and constants that Glibc's Swift overlay does not export, and the one way Martlet starts a process.
// Every function returns a value >= 0, or -errno.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/stat.h>

// ---- Descriptors

int clinux_open(const char *path, int flags, unsigned mode);
int clinux_openat(int directory, const char *path, int flags, unsigned mode);
int clinux_pipe(int ends[2], int flags);
int clinux_socketpair(int ends[2]);
// A listening unix stream socket named `name` inside the open directory, so that the whole path may be of any length.
int clinux_listen_unix(int directory, const char *name, int backlog);
// Connects to such a socket; what is not one, a link to one included, is refused.
int clinux_connect_unix(int directory, const char *name);
// Takes a connection that waits at a listening socket.
int clinux_accept(int listener);
ssize_t clinux_read(int fd, void *buffer, size_t count);
ssize_t clinux_write(int fd, const void *buffer, size_t count);
ssize_t clinux_pread(int fd, void *buffer, size_t count, off_t offset);
ssize_t clinux_pwrite(int fd, const void *buffer, size_t count, off_t offset);
int clinux_set_nonblocking(int fd, int on);
int clinux_flock(int fd, int exclusive, int wait);
int clinux_fsync(int fd);
int clinux_rename(const char *from, const char *to);
int clinux_poll_one(int fd, short events, int timeout_ms);
// Copies up to `count` bytes between two files, sharing blocks where the file system can; 0 at the end.
ssize_t clinux_copy_file_range(int from, int to, size_t count);

// ---- Event loop

typedef struct { uint32_t events; uint64_t tag; } clinux_event;
#define CLINUX_EVENT_READ 0x001
#define CLINUX_EVENT_WRITE 0x004
#define CLINUX_EVENT_ERROR 0x008
#define CLINUX_EVENT_HANGUP 0x010
#define CLINUX_EVENT_EDGE 0x80000000u
int clinux_epoll_create(void);
// operation: 1 add, 2 delete, 3 modify (EPOLL_CTL_*).
int clinux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t tag);
int clinux_epoll_wait(int epoll, clinux_event *events, int capacity, int timeout_ms);
// A descriptor that becomes readable when one of the signals arrives; the signals are blocked in this thread.
int clinux_signalfd(const int *signals, int count);
int64_t clinux_monotonic_ns(void);
int64_t clinux_realtime_ns(void);

// ---- Processes

typedef struct {
    const char *path;            // program; absolute
    char *const *argv;
    char *const *envp;
    const char *directory;       // NULL: unchanged
    const int *fds;              // fds[i] becomes descriptor i of the child; -1 opens /dev/null
    int fd_count;
    int new_session;             // setsid: the child leads a session and a process group
    int controlling_terminal;    // descriptor 0 becomes the controlling terminal
    int set_identity;            // set groups, gid and uid below
    uint32_t uid, gid;
    const uint32_t *groups;
    int group_count;
    int no_new_privileges;
    int64_t max_processes;       // RLIMIT_NPROC, -1: unchanged
    int64_t max_open_files;      // RLIMIT_NOFILE, -1: unchanged
    const int *cgroup_procs_fds; // a cgroup.procs of each version 1 tree, open for writing: the child puts itself in
    int cgroup_procs_count;
    int cgroup_fd;               // a version 2 cgroup's open directory the child is born in, or -1
    int cgroup_is_frozen;        // that cgroup is frozen: the program is loaded, and frozen before it runs
    uint64_t reset_signals;      // bit n: signal n goes back to its default; 0: all of them
    int network_namespace_fd;    // an open network namespace the child enters, or -1
    int oom_score_adj;           // written to /proc/self/oom_score_adj unless INT32_MIN
    uint32_t new_namespaces;     // kinds the child gets of its own (CLINUX_NEW_*), a pid namespace's first process among them
} clinux_spawn_spec;

enum {
    CLINUX_STAGE_FORK = 1, CLINUX_STAGE_SESSION, CLINUX_STAGE_NAMESPACE, CLINUX_STAGE_DESCRIPTORS, CLINUX_STAGE_LIMITS,
    CLINUX_STAGE_CGROUP, CLINUX_STAGE_IDENTITY, CLINUX_STAGE_DIRECTORY, CLINUX_STAGE_TERMINAL, CLINUX_STAGE_EXEC
};

// Starts a process: default signal dispositions, empty mask, no descriptor but those listed. Returns its pid, with
// *pidfd an open CLOEXEC pidfd (or -1 where the kernel has none), or -errno with *stage telling where it failed.
pid_t clinux_spawn(const clinux_spawn_spec *spec, int *pidfd, int *stage);
int clinux_pidfd_open(pid_t pid);
int clinux_pidfd_send_signal(int pidfd, int signal);
int clinux_kill(pid_t pid, int signal);
// Makes orphaned descendants children of this process.
int clinux_become_subreaper(void);

typedef struct {
    pid_t pid;
    int code;                    // exit code when signal is 0
    int signal;
    uint64_t user_us, system_us, max_rss_bytes;
} clinux_exit;
// Reaps one child without waiting: 1 and *out filled, 0 when none is ready, -errno.
int clinux_reap(pid_t pid, clinux_exit *out);
// The same for the very process a pidfd names, whose exit nobody asks for.
int clinux_pidfd_reap(int pidfd);

// ---- Control groups (version 2)
// Freezes a cgroup and all below it: `freeze` is its cgroup.freeze open for writing, `events` its cgroup.events open
// for reading. 1 once everything inside is frozen, 0 when the time is up (what froze stays frozen), -errno.
int clinux_cgroup_freeze(int freeze, int events, uint32_t timeout_ms);
int clinux_cgroup_thaw(int freeze);

// ---- Terminals
// Opens a pseudo-terminal pair, both CLOEXEC.
int clinux_open_terminal(int *main, int *replica, unsigned short rows, unsigned short columns);
int clinux_resize_terminal(int fd, unsigned short rows, unsigned short columns);
// Raw mode for the user's own terminal; `saved` (of clinux_termios_size bytes) takes what to restore.
size_t clinux_termios_size(void);
int clinux_terminal_raw(int fd, void *saved);
int clinux_terminal_restore(int fd, const void *saved);
int clinux_terminal_size(int fd, unsigned short *rows, unsigned short *columns);

// ---- The machine (used by the guest agent)

int clinux_set_realtime_ns(int64_t nanoseconds);
// Credits fresh bytes to the kernel's random generator, `fd` being /dev/urandom, and makes it reseed at once.
int clinux_add_entropy(int fd, const uint8_t *bytes, int count);
int clinux_getrandom(uint8_t *bytes, size_t count);
int clinux_set_hostname(const char *name, size_t length);
int clinux_power_off(void);
int clinux_restart(void);
int clinux_load_module(const char *path);
int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
// Moves the mount at `path` over / and makes it the root: what switch_root does, without deleting the old root.
int clinux_switch_root(const char *path);
int clinux_sync_filesystem(const char *path);
// The file system an open file or directory is on.
int clinux_syncfs(int fd);
int clinux_grow_ext4(const char *mountpoint, uint64_t bytes);
uint64_t clinux_block_device_bytes(const char *path);
int clinux_loopback_up(void);
// Gives a network interface its one IPv4 address (network byte order) and brings it up.
int clinux_interface_up(const char *name, uint32_t address, uint32_t mask, int mtu);
// Sends what has no other way by an IPv4 gateway (network byte order).
int clinux_default_route(const char *interface, uint32_t gateway);
typedef struct { uint64_t total, free, available; } clinux_space;
int clinux_filesystem_space(const char *path, clinux_space *out);

// The rate of this processor's time stamp counter, measured over 50 ms; 0 where there is none.
uint64_t clinux_tsc_khz(void);

// A non-blocking NETLINK_SOCK_DIAG socket: asks the kernel about sockets. Read and written like any descriptor.
int clinux_socket_diagnostics(void);

// ---- File watching
int clinux_inotify_create(void);
int clinux_inotify_add(int fd, const char *path, uint32_t mask);
int clinux_inotify_remove(int fd, int watch);
// A counter others add to; readable while it is not zero.
int clinux_eventfd(void);

// ---- Memory of another process
// Private (not shared with anyone) and proportional bytes from /proc/PID/smaps_rollup.
int clinux_process_memory(pid_t pid, uint64_t *private_bytes, uint64_t *proportional_bytes);

// Lets the calling thread run before every ordinary one, kernel threads included, or no longer; children are ordinary.
int clinux_set_urgent(int urgent);

// Extended attributes of an open file. Collected are those whose names begin with a prefix, as `name=value` and a zero
// each, without the prefix; what does not fit into `size` is left out. Returns the bytes, or -errno.
int clinux_set_attribute(int file, const char *name, const void *value, size_t length);
int64_t clinux_attributes(int file, const char *prefix, char *pairs, size_t size);

#include "CLinuxCell.h"
#include "CLinuxJail.h"
#include "CLinuxMemory.h"
#include "CLinuxTCP.h"
#include "CLinuxNetwork.h"

#endif
