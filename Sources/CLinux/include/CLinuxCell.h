// What a sandbox on the host's own kernel is made from: user and mount namespaces, loop devices, overlays, capabilities,
// Landlock. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_CELL_H
#define CLINUX_CELL_H

#include <stdint.h>

// ---- User namespaces
// A new user namespace in which users and groups 0 to count-1 are `first` and those that follow outside. It belongs to
// the user `first`, and no further user namespace can be made below it.
int clinux_userns_create(uint32_t first, uint32_t count);

// ---- Mount namespaces
// The calling thread's mount namespace, open.
int clinux_mountns_current(void);
// Moves the calling thread into a new copy of its mount namespace, of which nothing comes back.
int clinux_mountns_unshare(void);
int clinux_mountns_enter(int fd);
// The tree mounted at `source`, read-only and without devices, appears at `target` with its owners translated by a user
// namespace, or as they are when that is -1.
int clinux_mount_mapped(const char *source, const char *target, int user_namespace);
int clinux_unmount(const char *target);

// ---- Loop devices
#define CLINUX_LOOP_NAME 32
// A block device on a file, gone by itself with its last user; gives it open, and its path.
int clinux_loop_attach(int file, int read_only, char name[CLINUX_LOOP_NAME]);

// ---- Capabilities
// Takes all capabilities but those of the mask (bit n: capability n) from whatever this process starts.
int clinux_keep_capabilities(uint64_t mask);

// ---- Landlock
// The version the kernel has; 0 where it has none.
int clinux_landlock_version(void);
// For this process and all it starts: no device files are made, devices outside /dev are not controlled, mounts stay as
// they are, and sockets without a path and signals reach nothing outside. What the kernel's version cannot, is left out.
int clinux_landlock_confine(void);

// ---- Descriptors
// Closes every descriptor above 2 but one.
int clinux_close_others(int keep);

#endif
