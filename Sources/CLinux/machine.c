#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/random.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clinux_set_realtime_ns(int64_t nanoseconds) {
    struct timespec now = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
}

int clinux_add_entropy(int fd, const uint8_t *bytes, int count) {
    if (count <= 0 || count > 512) return -EINVAL;
    _Alignas(struct rand_pool_info) uint8_t pool[sizeof(struct rand_pool_info) + 512];
    struct rand_pool_info *info = (struct rand_pool_info *)pool;
    info->entropy_count = count * 8;
    info->buf_size = count;
    memcpy(info->buf, bytes, (size_t)count);
    int error = 0;
    if (ioctl(fd, RNDADDENTROPY, pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0) error = -errno;
    explicit_bzero(pool, sizeof pool);
    return error;
}

int clinux_getrandom(uint8_t *bytes, size_t count) {
    return syscall(SYS_getrandom, bytes, count, 0) == (long)count ? 0 : -errno;
}

int clinux_set_hostname(const char *name, size_t length) { return sethostname(name, length) < 0 ? -errno : 0; }
int clinux_power_off(void) { return reboot(RB_POWER_OFF) < 0 ? -errno : 0; }
int clinux_restart(void) { return reboot(RB_AUTOBOOT) < 0 ? -errno : 0; }

int clinux_load_module(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int error = syscall(SYS_finit_module, fd, "", 0) < 0 ? -errno : 0;
    close(fd);
    return error == -EEXIST ? 0 : error;
}

int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return mount(source, target, type, flags, data) < 0 ? -errno : 0;
}

int clinux_switch_root(const char *path) {
    if (chdir(path) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) return -errno;
    return 0;
}

int clinux_sync_filesystem(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int error = syncfs(fd) < 0 ? -errno : 0;
    close(fd);
    return error;
}

int clinux_syncfs(int fd) { return syncfs(fd) < 0 ? -errno : 0; }

uint64_t clinux_block_device_bytes(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    uint64_t size = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) < 0) size = 0;
    close(fd);
    return size;
}

// EXT4_IOC_RESIZE_FS from the kernel's fs/ext4/ext4.h; it has no exported header.
#define CLINUX_EXT4_RESIZE _IOW('f', 16, uint64_t)

int clinux_grow_ext4(const char *mountpoint, uint64_t bytes) {
    struct statvfs space;
    if (statvfs(mountpoint, &space) < 0) return -errno;
    uint64_t blocks = bytes / space.f_bsize;
    int fd = open(mountpoint, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int error = ioctl(fd, CLINUX_EXT4_RESIZE, &blocks) < 0 ? -errno : 0;
    close(fd);
    return error;
}

int clinux_loopback_up(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    int error = 0;
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) error = -errno;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (!error && ioctl(fd, SIOCSIFFLAGS, &request) < 0) error = -errno;
    close(fd);
    return error;
}

static void set_address(struct sockaddr *out, uint32_t address) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
    memcpy(out, &in, sizeof in);
}

int clinux_interface_up(const char *name, uint32_t address, uint32_t mask, int mtu) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) return -EINVAL;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    strcpy(request.ifr_name, name);
    int error = 0;
    request.ifr_mtu = mtu;
    if (ioctl(fd, SIOCSIFMTU, &request) < 0) error = -errno;
    set_address(&request.ifr_addr, address);
    if (!error && ioctl(fd, SIOCSIFADDR, &request) < 0) error = -errno;
    set_address(&request.ifr_netmask, mask);
    if (!error && ioctl(fd, SIOCSIFNETMASK, &request) < 0) error = -errno;
    if (!error && ioctl(fd, SIOCGIFFLAGS, &request) < 0) error = -errno;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (!error && ioctl(fd, SIOCSIFFLAGS, &request) < 0) error = -errno;
    close(fd);
    return error;
}

int clinux_default_route(const char *interface, uint32_t gateway) {
    char name[IFNAMSIZ];
    if (strlen(interface) >= sizeof name) return -EINVAL;
    strcpy(name, interface);
    struct rtentry route;
    memset(&route, 0, sizeof route);
    set_address(&route.rt_dst, INADDR_ANY);
    set_address(&route.rt_genmask, INADDR_ANY);
    set_address(&route.rt_gateway, gateway);
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    route.rt_dev = name;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int error = ioctl(fd, SIOCADDRT, &route) < 0 ? -errno : 0;
    close(fd);
    return error == -EEXIST ? 0 : error;
}

int clinux_socket_diagnostics(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    return fd < 0 ? -errno : fd;
}

int clinux_filesystem_space(const char *path, clinux_space *out) {
    struct statvfs space;
    if (statvfs(path, &space) < 0) return -errno;
    out->total = (uint64_t)space.f_blocks * space.f_frsize;
    out->free = (uint64_t)space.f_bfree * space.f_frsize;
    out->available = (uint64_t)space.f_bavail * space.f_frsize;
    return 0;
}

#if defined(__x86_64__)
#include <x86intrin.h>

uint64_t clinux_tsc_khz(void) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &start);
    uint64_t first = __rdtsc(), last;
    int64_t elapsed;
    do {
        struct timespec pause = {.tv_nsec = 5000000};
        nanosleep(&pause, NULL);
        clock_gettime(CLOCK_MONOTONIC_RAW, &now);
        last = __rdtsc();
        elapsed = (now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec;
    } while (elapsed < 50000000);
    return (uint64_t)((__int128)(last - first) * 1000000 / elapsed);
}
#else
uint64_t clinux_tsc_khz(void) { return 0; }
#endif
