#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int clinux_unshare(uint32_t kinds) { return unshare((int)kinds) < 0 ? -errno : 0; }

int clinux_mounts_private(void) { return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0; }

int clinux_bind(const char *source, const char *target, int flags) {
    if (mount(source, target, NULL, MS_BIND, NULL) < 0) return -errno;
    unsigned long how = MS_BIND | MS_REMOUNT | MS_NOSUID;
    if (!(flags & CLINUX_BIND_DEVICES)) how |= MS_NODEV;
    if (flags & CLINUX_BIND_READ_ONLY) how |= MS_RDONLY;
    if (flags & CLINUX_BIND_NO_EXEC) how |= MS_NOEXEC;
    return mount(NULL, target, NULL, how, NULL) < 0 ? -errno : 0;
}

int clinux_change_root(const char *path) {
    if (chdir(path) < 0) return -errno;
    // Both at the same place: the old root comes to lie over the new one, and is taken off (pivot_root(2)).
    if (syscall(SYS_pivot_root, ".", ".") < 0) return -errno;
    if (umount2(".", MNT_DETACH) < 0) return -errno;
    return chdir("/") < 0 ? -errno : 0;
}

int clinux_limit(int resource, uint64_t value) {
    struct rlimit limit = {value, value};
    return setrlimit(resource, &limit) < 0 ? -errno : 0;
}

int clinux_become(uid_t uid, gid_t gid) {
    unsigned long locked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED
        | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, locked, 0, 0, 0) < 0) return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL) return -errno;
    for (int capability = 0; capability < 64; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno == EINVAL) break;  // the kernel has no more of them
        return -errno;
    }
    if (setgroups(0, NULL) < 0) return -errno;
    if (setresgid(gid, gid, gid) < 0) return -errno;
    if (setresuid(uid, uid, uid) < 0) return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int clinux_thread_count(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return -errno;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(tasks));) count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

int clinux_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0; }

int clinux_filter_calls(const void *program, size_t count) {
    if (count == 0 || count > BPF_MAXINSNS) return -EINVAL;
    struct sock_fprog filter = {.len = (unsigned short)count, .filter = (struct sock_filter *)(uintptr_t)program};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0 ? -errno : 0;
}

int clinux_filter_action_available(uint32_t action) {
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) return 1;
    return errno == EOPNOTSUPP ? 0 : -errno;
}

int clinux_exec(const char *path, char *const *argv, char *const *envp) {
    execve(path, argv, envp);
    return -errno;
}

int clinux_disk_of(const char *path, uint32_t *out_major, uint32_t *out_minor) {
    struct stat info;
    if (stat(path, &info) < 0) return -errno;
    unsigned first = major(info.st_dev), second = minor(info.st_dev);
    char name[96], text[32];
    snprintf(name, sizeof name, "/sys/dev/block/%u:%u", first, second);
    if (access(name, F_OK) < 0) return -ENODEV;
    // A partition's directory lies in that of its disk, and only the disk takes limits.
    snprintf(name, sizeof name, "/sys/dev/block/%u:%u/partition", first, second);
    if (access(name, F_OK) == 0) {
        snprintf(name, sizeof name, "/sys/dev/block/%u:%u/../dev", first, second);
        int fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return -errno;
        ssize_t count = read(fd, text, sizeof text - 1);
        close(fd);
        if (count <= 0) return -ENODEV;
        text[count] = 0;
        if (sscanf(text, "%u:%u", &first, &second) != 2) return -ENODEV;
    }
    *out_major = first;
    *out_minor = second;
    return 0;
}

int clinux_open_plain(int directory, const char *name, int flags) {
    int fd = openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return -errno;
    struct stat info;
    int error = fstat(fd, &info) < 0 ? errno : S_ISREG(info.st_mode) ? 0 : ELOOP;
    if (!error) return fd;
    close(fd);
    return -error;
}

int clinux_set_file_limit(pid_t pid, uint64_t bytes) {
    struct rlimit limit = {bytes, bytes};
    return prlimit(pid, RLIMIT_FSIZE, &limit, NULL) < 0 ? -errno : 0;
}

int clinux_give_away(int directory, const char *name, uid_t uid, gid_t gid, unsigned mode) {
    int fd = clinux_open_plain(directory, name, O_RDONLY);
    if (fd < 0) return fd;
    // The mode first: nobody but the new owner may write, and the old one loses it with the ownership.
    int error = fchmod(fd, mode) < 0 || fchown(fd, uid, gid) < 0 ? errno : 0;
    close(fd);
    return -error;
}
