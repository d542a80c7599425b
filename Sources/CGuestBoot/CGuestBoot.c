#define _GNU_SOURCE
#include "CGuestBoot.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int proc_error = 0;

int guest_boot_proc_error(void) { return proc_error; }

// Priority 101 is the first one not reserved for the implementation: before the Swift runtime's own.
__attribute__((constructor(101))) static void mount_proc(void) {
    if (getpid() != 1 || access("/proc/self/exe", F_OK) == 0) return;
    mkdir("/proc", 0555);
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) < 0) proc_error = errno;
}
