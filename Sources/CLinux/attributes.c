#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

int clinux_set_attribute(int file, const char *name, const void *value, size_t length) {
    return fsetxattr(file, name, value, length, 0) == 0 ? 0 : -errno;
}

int64_t clinux_attributes(int file, const char *prefix, char *pairs, size_t size) {
    char names[8192];
    ssize_t total = flistxattr(file, names, sizeof names);
    if (total < 0) return errno == ENOTSUP ? 0 : -errno;
    size_t used = 0, head = strlen(prefix);
    for (const char *name = names; name < names + total; name += strlen(name) + 1) {
        if (strncmp(name, prefix, head) != 0) continue;
        size_t length = strlen(name + head);
        if (used + length + 2 > size) break;
        ssize_t count = fgetxattr(file, name, pairs + used + length + 1, size - used - length - 2);
        // Larger than there is room for, or gone in between.
        if (count < 0) continue;
        memcpy(pairs + used, name + head, length);
        pairs[used + length] = '=';
        used += length + 1 + (size_t)count;
        pairs[used++] = 0;
    }
    return (int64_t)used;
}
