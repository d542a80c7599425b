#define _GNU_SOURCE
#include "CLinuxCell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

// From sys/mount.h, which does not go together with linux/mount.h in every version of the two.
int umount2(const char *target, int flags);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
#define CLINUX_MS_REC 0x4000
#define CLINUX_MS_SLAVE 0x80000
#define CLINUX_MNT_DETACH 2

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t written = write(fd, text, strlen(text));
    int error = written < 0 ? -errno : 0;
    close(fd);
    return error;
}

// ---- User namespaces

// Runs in a child that shares nothing: makes the namespace, waits until it is mapped, closes it for further ones.
static void hold_userns(int ready, int go, uint32_t first) {
    char byte = 0;
    // By the raw calls: the names of glibc would look for other threads.
    if (syscall(SYS_setresgid, first, first, first) < 0 || syscall(SYS_setresuid, first, first, first) < 0) _exit(1);
    // The kernel lets no process that changed its user be looked into, and its maps are below /proc.
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || unshare(CLONE_NEWUSER) < 0) _exit(1);
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) _exit(1);
    if (write_file("/proc/sys/user/max_user_namespaces", "0") < 0) _exit(1);
    if (write(ready, &byte, 1) != 1) _exit(1);
    while (read(go, &byte, 1) > 0) {}
    _exit(0);
}

int clinux_userns_create(uint32_t first, uint32_t count) {
    int ready[2], go[2];
    if (pipe2(ready, O_CLOEXEC) < 0) return -errno;
    if (pipe2(go, O_CLOEXEC) < 0) {
        int error = -errno;
        close(ready[0]), close(ready[1]);
        return error;
    }
    int result = -EIO;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        close(ready[0]), close(go[1]);
        hold_userns(ready[1], go[0], first);
    }
    if (child < 0) result = -errno;
    close(ready[1]), close(go[0]);
    char byte, path[64], map[64];
    if (child > 0 && read(ready[0], &byte, 1) == 1) {
        snprintf(map, sizeof map, "0 %u %u\n", first, count);
        snprintf(path, sizeof path, "/proc/%d/uid_map", child);
        result = write_file(path, map);
        snprintf(path, sizeof path, "/proc/%d/gid_map", child);
        if (result == 0) result = write_file(path, map);
        if (result == 0 && (write(go[1], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1)) result = -EIO;
        snprintf(path, sizeof path, "/proc/%d/ns/user", child);
        if (result == 0 && (result = open(path, O_RDONLY | O_CLOEXEC)) < 0) result = -errno;
    }
    close(ready[0]), close(go[1]);
    if (child > 0) {
        kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    }
    return result;
}

// ---- Mount namespaces

int clinux_mountns_current(void) {
    int fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinux_mountns_unshare(void) {
    if (unshare(CLONE_NEWNS) < 0) return -errno;
    return mount(NULL, "/", NULL, CLINUX_MS_REC | CLINUX_MS_SLAVE, NULL) < 0 ? -errno : 0;
}

int clinux_mountns_enter(int fd) { return setns(fd, CLONE_NEWNS) < 0 ? -errno : 0; }

int clinux_mount_mapped(const char *source, const char *target, int user_namespace) {
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0) return -errno;
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID};
    if (user_namespace >= 0) {
        attributes.attr_set |= MOUNT_ATTR_IDMAP;
        attributes.userns_fd = (uint64_t)user_namespace;
    }
    int error = 0;
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) error = -errno;
    if (!error && syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0) error = -errno;
    close(tree);
    return error;
}

int clinux_unmount(const char *target) { return umount2(target, CLINUX_MNT_DETACH) < 0 ? -errno : 0; }

// ---- Loop devices

int clinux_loop_attach(int file, int read_only, char name[CLINUX_LOOP_NAME]) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return -errno;
    struct loop_config config = {
        .fd = (uint32_t)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0)};
    int result = -EBUSY;
    // Between being told of a free one and taking it somebody else may.
    for (int attempt = 0; attempt < 64 && result == -EBUSY; attempt++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) { result = -errno; break; }
        snprintf(name, CLINUX_LOOP_NAME, "/dev/loop%d", number);
        int device = open(name, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (device < 0 && errno == ENOENT && mknod(name, S_IFBLK | 0600, makedev(7, (unsigned)number)) == 0)
            device = open(name, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (device < 0) { result = -errno; break; }
        if (ioctl(device, LOOP_CONFIGURE, &config) == 0) {
            result = device;
        } else {
            result = -errno;
            close(device);
        }
    }
    close(control);
    return result;
}

// ---- Capabilities

int clinux_keep_capabilities(uint64_t mask) {
    for (int number = 0; number < 64; number++) {
        if (mask >> number & 1) continue;
        if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0) {
            // Numbers the kernel does not know are past the last one.
            if (errno == EINVAL) break;
            return -errno;
        }
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) return -errno;
    data[0].inheritable = data[1].inheritable = 0;
    if (syscall(SYS_capset, &header, data) < 0) return -errno;
    // A kernel that knows no ambient capabilities, as gVisor's, has none.
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL ? -errno : 0;
}

// ---- Landlock (the kernel's Documentation/userspace-api/landlock.rst)

// Of later versions than the headers this may be built with.
#define CLINUX_FS_REFER (1ULL << 13)
#define CLINUX_FS_TRUNCATE (1ULL << 14)
#define CLINUX_FS_IOCTL_DEV (1ULL << 15)
#define CLINUX_SCOPE_ABSTRACT (1ULL << 0)
#define CLINUX_SCOPE_SIGNAL (1ULL << 1)
struct clinux_ruleset { uint64_t access_fs, access_net, scoped; };

int clinux_landlock_version(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 0 ? 0 : (int)version;
}

static int allow_beneath(int ruleset, const char *path, uint64_t access) {
    int folder = open(path, O_PATH | O_CLOEXEC);
    if (folder < 0) return -errno;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = folder};
    int error = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
    close(folder);
    return error;
}

int clinux_landlock_confine(void) {
    int version = clinux_landlock_version();
    if (version == 0) return -EOPNOTSUPP;
    uint64_t all = (1ULL << 13) - 1;
    if (version >= 2) all |= CLINUX_FS_REFER;
    if (version >= 3) all |= CLINUX_FS_TRUNCATE;
    if (version >= 5) all |= CLINUX_FS_IOCTL_DEV;
    struct clinux_ruleset rules = {.access_fs = all};
    size_t size = sizeof rules.access_fs;
    if (version >= 6) {
        rules.scoped = CLINUX_SCOPE_ABSTRACT | CLINUX_SCOPE_SIGNAL;
        size = sizeof rules;
    }
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0) return -errno;
    uint64_t devices = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
    int error = allow_beneath(ruleset, "/", all & ~devices & ~CLINUX_FS_IOCTL_DEV);
    if (!error && version >= 5) error = allow_beneath(ruleset, "/dev", CLINUX_FS_IOCTL_DEV);
    if (!error && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) error = -errno;
    close(ruleset);
    return error;
}

int clinux_close_others(int keep) {
    if (keep > 3 && syscall(SYS_close_range, 3u, (unsigned)keep - 1, 0u) < 0) return -errno;
    return syscall(SYS_close_range, (unsigned)(keep < 3 ? 3 : keep + 1), 0x7fffffffu, 0u) < 0 ? -errno : 0;
}
