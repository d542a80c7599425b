// What it takes to shut a process in: namespaces, mounts, a root of its own, identity, capabilities, system call filters.
// Meant for a single-threaded program that then becomes another one. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_JAIL_H
#define CLINUX_JAIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Kinds of namespaces, as bits (linux/sched.h).
#define CLINUX_NEW_CGROUP 0x02000000u
#define CLINUX_NEW_UTS 0x04000000u
#define CLINUX_NEW_IPC 0x08000000u
#define CLINUX_NEW_PID 0x20000000u
#define CLINUX_NEW_NETWORK 0x40000000u
#define CLINUX_NEW_MOUNT 0x00020000u

int clinux_unshare(uint32_t kinds);

// Mounts of this namespace no longer tell others of changes.
int clinux_mounts_private(void);
// Flags of a bind mount.
#define CLINUX_BIND_READ_ONLY 1
#define CLINUX_BIND_NO_EXEC 2
#define CLINUX_BIND_DEVICES 4
// Makes a file or directory appear at another place; never with set-user-id programs, and with devices only where asked.
int clinux_bind(const char *source, const char *target, int flags);
// The directory, which must be a mount, becomes the root; nothing of the old one is left.
int clinux_change_root(const char *path);

// Sets both limits of a resource (RLIMIT_*).
int clinux_limit(int resource, uint64_t value);
// No capability is left, and none can be had again; then the identity, without other groups.
int clinux_become(uid_t uid, gid_t gid);
// How many threads this process has.
int clinux_thread_count(void);
int clinux_no_new_privileges(void);
// Puts a filter of system calls in force for this thread and all that come of it: `count` instructions of classic BPF,
// 8 bytes each (struct sock_filter).
int clinux_filter_calls(const void *program, size_t count);
// Whether the kernel knows an action of such filters (SECCOMP_RET_*).
int clinux_filter_action_available(uint32_t action);
// Becomes another program; returns only if that fails.
int clinux_exec(const char *path, char *const *argv, char *const *envp);

// The whole disk a file's blocks are on: major and minor number. -ENODEV where it is on none that can be told.
int clinux_disk_of(const char *path, uint32_t *major, uint32_t *minor);

// Opens what is at `name` in an open directory if it is a plain file, without following links.
int clinux_open_plain(int directory, const char *name, int flags);
// Sets the size no file a process writes can outgrow (RLIMIT_FSIZE).
int clinux_set_file_limit(pid_t pid, uint64_t bytes);
// Gives a file of an open directory another owner and mode; links are not followed.
int clinux_give_away(int directory, const char *name, uid_t uid, gid_t gid, unsigned mode);

#endif
