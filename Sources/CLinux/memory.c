#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

int clinux_find_mapping(pid_t pid, uint64_t device, uint64_t inode, uint64_t *start, uint64_t *length) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    if (maps == NULL) return -errno;
    char line[8192];
    int found = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long long from, to, offset, number;
        unsigned major_number, minor_number;
        char access[8];
        if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu", &from, &to, access, &offset, &major_number, &minor_number,
                   &number) != 7) continue;
        if (number != inode || makedev(major_number, minor_number) != device || access[3] != 'p') continue;
        if (found && from == *start + *length) {
            *length += to - from;
            continue;
        }
        if (found || offset != 0) { found = 2; break; }
        *start = from;
        *length = to - from;
        found = 1;
    }
    fclose(maps);
    return found == 1 ? 0 : found == 2 ? -EINVAL : -ENOENT;
}

// PAGEMAP_SCAN, from Linux 6.7 on (Documentation/admin-guide/mm/pagemap.rst); older headers do not have it.
struct scan_region { uint64_t start, end, categories; };
struct scan_request {
    uint64_t size, flags, start, end, walk_end, vector, vector_length, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan_request)
#define SCAN_FILE (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_BATCH 512

static int open_pagemap(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    return file < 0 ? -errno : file;
}

static void add_run(clinux_page_run *runs, size_t capacity, size_t *found, uint64_t page, uint64_t count) {
    if (*found > 0 && *found <= capacity) {
        clinux_page_run *last = &runs[*found - 1];
        if (last->page + last->count == page) {
            last->count += count;
            return;
        }
    }
    if (*found < capacity) runs[*found] = (clinux_page_run){ page, count };
    *found += 1;
}

ssize_t clinux_written_pages(pid_t pid, uint64_t start, uint64_t length, clinux_page_run *runs, size_t capacity) {
    int file = open_pagemap(pid);
    if (file < 0) return file;
    struct scan_region regions[SCAN_BATCH];
    size_t found = 0;
    uint64_t position = start;
    while (position < start + length) {
        struct scan_request request = {
            .size = sizeof request, .start = position, .end = start + length, .vector = (uint64_t)(uintptr_t)regions,
            .vector_length = SCAN_BATCH, .category_inverted = SCAN_FILE, .category_mask = SCAN_FILE,
            .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
        };
        int count = ioctl(file, SCAN, &request);
        if (count < 0) {
            int failure = errno;
            if (failure == EINTR) continue;
            close(file);
            if (failure == ENOTTY || failure == EINVAL)
                return clinux_written_pages_by_table(pid, start, length, runs, capacity);
            return -failure;
        }
        for (int i = 0; i < count; i++)
            add_run(runs, capacity, &found, (regions[i].start - start) / CLINUX_PAGE,
                    (regions[i].end - regions[i].start) / CLINUX_PAGE);
        if (request.walk_end <= position) break;
        position = request.walk_end;
    }
    close(file);
    return (ssize_t)found;
}

ssize_t clinux_written_pages_by_table(
    pid_t pid, uint64_t start, uint64_t length, clinux_page_run *runs, size_t capacity) {
    int file = open_pagemap(pid);
    if (file < 0) return file;
    uint64_t entries[4096];
    size_t found = 0;
    uint64_t pages = length / CLINUX_PAGE;
    for (uint64_t page = 0; page < pages;) {
        size_t wanted = pages - page < 4096 ? (size_t)(pages - page) : 4096;
        ssize_t got = pread(file, entries, wanted * 8, (off_t)((start / CLINUX_PAGE + page) * 8));
        if (got <= 0) {
            int failure = got < 0 ? errno : EIO;
            close(file);
            return -failure;
        }
        size_t count = (size_t)got / 8;
        for (size_t i = 0; i < count; i++) {
            // Bit 63: present. Bit 62: swapped. Bit 61: a page of the file, or shared.
            if ((entries[i] >> 62) != 0 && ((entries[i] >> 61) & 1) == 0)
                add_run(runs, capacity, &found, page + i, 1);
        }
        page += count;
    }
    close(file);
    return (ssize_t)found;
}

#define BUFFER_PAGES 512u
#define PIECES 256

// Moves up to BUFFER_PAGES pages between the process and a buffer, starting `done` pages into run `*index`.
static int64_t move_batch(
    pid_t pid, uint64_t start, const clinux_page_run *runs, size_t count, size_t *index, uint64_t *done, void *buffer,
    uint64_t limit, int into_process) {
    struct iovec remote[PIECES];
    int pieces = 0;
    uint64_t pages = 0;
    while (*index < count && pages < limit && pieces < PIECES) {
        uint64_t left = runs[*index].count - *done;
        uint64_t take = left < limit - pages ? left : limit - pages;
        remote[pieces++] = (struct iovec){
            (void *)(uintptr_t)(start + (runs[*index].page + *done) * CLINUX_PAGE), take * CLINUX_PAGE };
        pages += take;
        *done += take;
        if (*done == runs[*index].count) {
            *index += 1;
            *done = 0;
        }
    }
    if (buffer == NULL) return (int64_t)pages;
    struct iovec local = { buffer, pages * CLINUX_PAGE };
    ssize_t moved = into_process ? process_vm_writev(pid, &local, 1, remote, (unsigned long)pieces, 0)
                                 : process_vm_readv(pid, &local, 1, remote, (unsigned long)pieces, 0);
    if (moved < 0) return -errno;
    return moved == (ssize_t)local.iov_len ? (int64_t)pages : -EFAULT;
}

static int write_whole(int file, const char *bytes, size_t count, uint64_t offset) {
    while (count > 0) {
        ssize_t written = pwrite(file, bytes, count, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written < 0 ? -errno : -EIO;
        bytes += written;
        count -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

static int read_whole(int file, char *bytes, size_t count, uint64_t offset) {
    while (count > 0) {
        ssize_t got = pread(file, bytes, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? -errno : -ENODATA;
        bytes += got;
        count -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int clinux_pages_to_file(
    pid_t pid, uint64_t start, const clinux_page_run *runs, size_t count, int file, uint64_t offset,
    uint32_t *checksum) {
    char *buffer = malloc(BUFFER_PAGES * CLINUX_PAGE);
    if (buffer == NULL) return -ENOMEM;
    size_t index = 0;
    uint64_t done = 0;
    int result = 0;
    while (index < count && result == 0) {
        int64_t pages = move_batch(pid, start, runs, count, &index, &done, buffer, BUFFER_PAGES, 0);
        if (pages <= 0) {
            result = pages < 0 ? (int)pages : -EINVAL;
            break;
        }
        size_t bytes = (size_t)pages * CLINUX_PAGE;
        *checksum = clinux_crc32c(*checksum, buffer, bytes);
        result = write_whole(file, buffer, bytes, offset);
        offset += bytes;
    }
    free(buffer);
    return result;
}

int clinux_pages_from_file(
    pid_t pid, uint64_t start, const clinux_page_run *runs, size_t count, int file, uint64_t offset,
    uint32_t *checksum) {
    char *buffer = malloc(BUFFER_PAGES * CLINUX_PAGE);
    if (buffer == NULL) return -ENOMEM;
    size_t index = 0;
    uint64_t done = 0;
    int result = 0;
    while (index < count && result == 0) {
        size_t next = index;
        uint64_t next_done = done;
        int64_t pages = move_batch(pid, start, runs, count, &next, &next_done, NULL, BUFFER_PAGES, 1);
        if (pages <= 0) {
            result = -EINVAL;
            break;
        }
        size_t bytes = (size_t)pages * CLINUX_PAGE;
        result = read_whole(file, buffer, bytes, offset);
        if (result != 0) break;
        *checksum = clinux_crc32c(*checksum, buffer, bytes);
        int64_t moved = move_batch(pid, start, runs, count, &index, &done, buffer, BUFFER_PAGES, 1);
        if (moved < 0) result = (int)moved;
        offset += bytes;
    }
    free(buffer);
    return result;
}

static uint32_t crc_by_table(uint32_t crc, const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static uint32_t crc_by_processor(uint32_t crc, const unsigned char *bytes, size_t count) {
    uint64_t wide = crc;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
        bytes += 8;
        count -= 8;
    }
    crc = (uint32_t)wide;
    while (count-- > 0) crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}
#endif

uint32_t clinux_crc32c(uint32_t checksum, const void *bytes, size_t count) {
    uint32_t crc = ~checksum;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return ~crc_by_processor(crc, bytes, count);
#endif
    return ~crc_by_table(crc, bytes, count);
}

// Product of two polynomials modulo CRC-32C's, the highest power in the lowest bit; `a` is not 0.
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31;; bit >>= 1) {
        if (a & bit) {
            product ^= b;
            if ((a & (bit - 1)) == 0) return product;
        }
        b = (b >> 1) ^ (0x82F63B78u & (0u - (b & 1)));
    }
}

// The checksum after so many more bytes of zeros: each multiplies the register by x^8.
static uint32_t crc_after_zeros(uint32_t checksum, uint64_t count) {
    uint32_t power = 1u << 23, factor = 1u << 31;
    for (; count > 0; count >>= 1) {
        if (count & 1) factor = multiply(power, factor);
        power = multiply(power, power);
    }
    return ~multiply(factor, ~checksum);
}

// Where the next byte is that is stored, from `offset` on; `offset` itself where that cannot be told.
static uint64_t next_data(int file, uint64_t offset) {
    off_t place = lseek(file, 0, SEEK_CUR);
    off_t data = lseek(file, (off_t)offset, SEEK_DATA);
    if (data < 0) data = errno == ENXIO ? lseek(file, 0, SEEK_END) : (off_t)offset;
    lseek(file, place, SEEK_SET);
    return data > (off_t)offset ? (uint64_t)data : offset;
}

int clinux_crc32c_file(int file, uint64_t offset, uint32_t *checksum) {
    size_t size = 1u << 20;
    char *buffer = malloc(size);
    if (buffer == NULL) return -ENOMEM;
    int result = 0;
    for (;;) {
        // Holes are not read: a disk of gigabytes may have stored a few of its pages.
        uint64_t data = next_data(file, offset);
        *checksum = crc_after_zeros(*checksum, data - offset);
        offset = data;
        ssize_t got = pread(file, buffer, size, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) result = -errno;
        if (got <= 0) break;
        *checksum = clinux_crc32c(*checksum, buffer, (size_t)got);
        offset += (uint64_t)got;
    }
    free(buffer);
    return result;
}

int64_t clinux_dig_holes(int file) {
    size_t size = 1u << 20;
    char *buffer = malloc(size);
    static const char zeros[CLINUX_PAGE];
    if (buffer == NULL) return -ENOMEM;
    int64_t dug = 0;
    int result = 0;
    off_t end = lseek(file, 0, SEEK_END), position = lseek(file, 0, SEEK_DATA);
    off_t hole = -1;
    while (position >= 0 && position < end && result == 0) {
        ssize_t got = pread(file, buffer, size, position);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            result = got < 0 ? -errno : 0;
            break;
        }
        for (ssize_t offset = 0; offset < got && result == 0; offset += CLINUX_PAGE) {
            size_t length = got - offset < (ssize_t)CLINUX_PAGE ? (size_t)(got - offset) : CLINUX_PAGE;
            int is_zero = memcmp(buffer + offset, zeros, length) == 0;
            if (is_zero && hole < 0) hole = position + offset;
            if (!is_zero && hole >= 0) {
                off_t length_of_hole = position + offset - hole;
                if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole, length_of_hole) < 0)
                    result = -errno;
                dug += length_of_hole;
                hole = -1;
            }
        }
        position += got;
    }
    if (result == 0 && hole >= 0 && hole < end) {
        if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole, end - hole) < 0) result = -errno;
        dug += end - hole;
    }
    free(buffer);
    return result < 0 ? result : dug;
}
