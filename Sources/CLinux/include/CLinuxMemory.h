// Another process's memory: where a file is mapped in it, which of those pages it has written, and moving pages
// between it and a file. Needs the right to trace the process. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_MEMORY_H
#define CLINUX_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CLINUX_PAGE 4096u

// Pages next to each other, counted from the start of the mapping.
typedef struct { uint64_t page; uint64_t count; } clinux_page_run;

// The one private mapping of the file (st_dev, st_ino) in the process.
int clinux_find_mapping(pid_t pid, uint64_t device, uint64_t inode, uint64_t *start, uint64_t *length);
// Pages of a private mapping that are the process's own: written since it was mapped. Gives how many runs there are,
// which may be more than the `capacity` that was filled.
ssize_t clinux_written_pages(pid_t pid, uint64_t start, uint64_t length, clinux_page_run *runs, size_t capacity);
// The same by reading /proc/PID/pagemap, for kernels before 6.7.
ssize_t clinux_written_pages_by_table(
    pid_t pid, uint64_t start, uint64_t length, clinux_page_run *runs, size_t capacity);
// Copies the runs, one after another, to the file from `offset` on; `checksum` is carried on (CRC-32C).
int clinux_pages_to_file(
    pid_t pid, uint64_t start, const clinux_page_run *runs, size_t count, int file, uint64_t offset,
    uint32_t *checksum);
// Copies the runs from the file into the process.
int clinux_pages_from_file(
    pid_t pid, uint64_t start, const clinux_page_run *runs, size_t count, int file, uint64_t offset,
    uint32_t *checksum);
// CRC-32C (Castagnoli), as in RFC 3720 appendix B.4; start with 0.
uint32_t clinux_crc32c(uint32_t checksum, const void *bytes, size_t count);
// CRC-32C of a whole file from `offset` to its end.
int clinux_crc32c_file(int file, uint64_t offset, uint32_t *checksum);

#endif
