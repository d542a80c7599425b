#define _GNU_SOURCE
#include "CLinux.h"

#include <sched.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// The kernel holds back its word of a change for up to 10 ms after the last one (CGROUP_FILE_NOTIFY_MIN_INTV in
// kernel/cgroup/cgroup.c), and a program that was just started is such a change: so it is also looked for unasked.
enum { FIRST_LOOK_MS = 1, LAST_LOOK_MS = 16 };

int clinux_cgroup_freeze(int freeze, int events, uint32_t timeout_ms) {
    if (pwrite(freeze, "1", 1, 0) < 0) return -errno;
    int64_t start = 0;
    int wait = FIRST_LOOK_MS;
    for (;;) {
        char text[64];
        ssize_t count = pread(events, text, sizeof text, 0);
        if (count < 0) return -errno;
        if (memmem(text, (size_t)count, "frozen 1", 8)) return 1;
        int64_t now = now_ms();
        if (!start) start = now;
        int64_t left = start + timeout_ms - now;
        if (left <= 0) return 0;
        struct pollfd entry = {.fd = events, .events = POLLPRI};
        if (poll(&entry, 1, wait < left ? wait : (int)left) < 0 && errno != EINTR) return -errno;
        if (wait < LAST_LOOK_MS) wait *= 2;
    }
}

int clinux_cgroup_thaw(int freeze) { return pwrite(freeze, "0", 1, 0) < 0 ? -errno : 0; }

int clinux_set_urgent(int urgent) {
    struct sched_param parameters = { .sched_priority = urgent ? 1 : 0 };
    int policy = urgent ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER;
    return sched_setscheduler(0, policy, &parameters) < 0 ? -errno : 0;
}
