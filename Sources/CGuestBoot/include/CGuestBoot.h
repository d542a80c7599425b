// Mounts /proc before the Swift runtime of a static PID 1 starts: the runtime aborts before main without
// /proc/self/exe. Referencing `guest_boot_proc_error` from main keeps this object in the link.
#ifndef CGUESTBOOT_H
#define CGUESTBOOT_H
// 0, or the error number of the mount.
int guest_boot_proc_error(void);
#endif
