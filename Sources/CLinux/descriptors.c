#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY(call) ({ __typeof__(call) r_; do { r_ = (call); } while (r_ < 0 && errno == EINTR); r_; })

int clinux_open(const char *path, int flags, unsigned mode) {
    int fd = RETRY(open(path, flags | O_CLOEXEC, mode));
    return fd < 0 ? -errno : fd;
}

int clinux_openat(int directory, const char *path, int flags, unsigned mode) {
    int fd = RETRY(openat(directory, path, flags | O_CLOEXEC, mode));
    return fd < 0 ? -errno : fd;
}

int clinux_pipe(int ends[2], int flags) { return pipe2(ends, flags | O_CLOEXEC) < 0 ? -errno : 0; }

int clinux_socketpair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

// A unix address holds 107 bytes of path; going through the directory's descriptor makes any directory reachable.
static int unix_address(int directory, const char *name, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", directory, name);
    return length < 0 || (size_t)length >= sizeof address->sun_path ? -ENAMETOOLONG : 0;
}

int clinux_listen_unix(int directory, const char *name, int backlog) {
    struct sockaddr_un address;
    int error = unix_address(directory, name, &address);
    if (error < 0) return error;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    unlinkat(directory, name, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int clinux_connect_unix(int directory, const char *name) {
    // Whoever may write to the directory could put a link there, to a socket that is none of its business.
    int file = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0) return -errno;
    struct stat info;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", file);
    int error = fstat(file, &info) < 0 ? -errno : S_ISSOCK(info.st_mode) ? 0 : -ENOTSOCK;
    int fd = error < 0 ? error : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!error && fd < 0) error = -errno;
    if (error < 0) {
        close(file);
        return error;
    }
    if (RETRY(connect(fd, (struct sockaddr *)&address, sizeof address)) < 0) {
        error = -errno;
        close(fd);
        close(file);
        return error;
    }
    close(file);
    return fd;
}

int clinux_accept(int listener) {
    int fd = (int)RETRY(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    return fd < 0 ? -errno : fd;
}

ssize_t clinux_read(int fd, void *buffer, size_t count) {
    ssize_t n = RETRY(read(fd, buffer, count));
    return n < 0 ? -errno : n;
}

ssize_t clinux_write(int fd, const void *buffer, size_t count) {
    ssize_t n = RETRY(write(fd, buffer, count));
    return n < 0 ? -errno : n;
}

ssize_t clinux_pread(int fd, void *buffer, size_t count, off_t offset) {
    ssize_t n = RETRY(pread(fd, buffer, count, offset));
    return n < 0 ? -errno : n;
}

ssize_t clinux_pwrite(int fd, const void *buffer, size_t count, off_t offset) {
    ssize_t n = RETRY(pwrite(fd, buffer, count, offset));
    return n < 0 ? -errno : n;
}

int clinux_set_nonblocking(int fd, int on) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

int clinux_flock(int fd, int exclusive, int wait) {
    int operation = (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB);
    return RETRY(flock(fd, operation)) < 0 ? -errno : 0;
}

int clinux_fsync(int fd) { return RETRY(fsync(fd)) < 0 ? -errno : 0; }

int clinux_rename(const char *from, const char *to) { return rename(from, to) < 0 ? -errno : 0; }

int clinux_poll_one(int fd, short events, int timeout_ms) {
    struct pollfd entry = {.fd = fd, .events = events};
    int n = RETRY(poll(&entry, 1, timeout_ms));
    return n < 0 ? -errno : n == 0 ? 0 : entry.revents;
}

ssize_t clinux_copy_file_range(int from, int to, size_t count) {
    ssize_t n = RETRY(copy_file_range(from, NULL, to, NULL, count, 0));
    if (n >= 0) return n;
    if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS) return -errno;
    // Between file systems of different kinds the kernel does not do it: by way of a buffer.
    char buffer[65536];
    n = RETRY(read(from, buffer, count < sizeof buffer ? count : sizeof buffer));
    if (n < 0) return -errno;
    for (ssize_t done = 0; done < n;) {
        ssize_t written = RETRY(write(to, buffer + done, (size_t)(n - done)));
        if (written < 0) return -errno;
        done += written;
    }
    return n;
}

int clinux_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event event = {.events = events, .data = {.u64 = tag}};
    return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int clinux_epoll_wait(int epoll, clinux_event *events, int capacity, int timeout_ms) {
    struct epoll_event ready[64];
    if (capacity > 64) capacity = 64;
    int n = RETRY(epoll_wait(epoll, ready, capacity, timeout_ms));
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) {
        events[i].events = ready[i].events;
        events[i].tag = ready[i].data.u64;
    }
    return n;
}

int clinux_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clinux_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
int64_t clinux_realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

int clinux_inotify_create(void) {
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int clinux_inotify_add(int fd, const char *path, uint32_t mask) {
    int watch = inotify_add_watch(fd, path, mask);
    return watch < 0 ? -errno : watch;
}

int clinux_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int clinux_inotify_remove(int fd, int watch) { return inotify_rm_watch(fd, watch) < 0 ? -errno : 0; }
