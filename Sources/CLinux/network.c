#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- Namespaces

int clinux_netns_current(void) {
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinux_netns_enter(int fd) { return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0; }

int clinux_netns_unshare(void) { return unshare(CLONE_NEWNET) < 0 ? -errno : 0; }

int clinux_netns_of_process(pid_t pid) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinux_name_thread(const char *name) { return prctl(PR_SET_NAME, name) < 0 ? -errno : 0; }

// ---- Descriptors of a thread's own

int clinux_own_descriptors(int keep) {
    if (keep < 3) return -EINVAL;
    if (unshare(CLONE_FILES) < 0) return -errno;
    if (keep > 3 && syscall(SYS_close_range, 3, keep - 1, 0) < 0) return -errno;
    return syscall(SYS_close_range, keep + 1, ~0u, 0) < 0 ? -errno : 0;
}

int clinux_send_descriptor(int channel, int fd) {
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof fd)]; } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    while (sendmsg(channel, &message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) return -errno;
    return 0;
}

int clinux_receive_descriptor(int channel) {
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    int fd = -1;
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof fd)]; } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count;
    while ((count = recvmsg(channel, &message, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR) return -errno;
    if (count == 0) return -EPIPE;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof fd)) return -EBADMSG;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

int clinux_is_netlink(int fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK;
}

// ---- Taps

int clinux_tap_open(const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) return -ENAMETOOLONG;
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -errno;
    if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

// ---- Sockets

static struct sockaddr_in inet_address(uint32_t address, uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(address)}};
}

int clinux_inet_socket(int type, uint32_t address, uint16_t port, int backlog, uint32_t mark) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int yes = 1;
    struct sockaddr_in place = inet_address(address, port);
    if ((mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0) ||
        (type == SOCK_STREAM && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0) ||
        (port && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) ||
        (port && bind(fd, (struct sockaddr *)&place, sizeof place) < 0) || (backlog && listen(fd, backlog) < 0)) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int clinux_inet_connect(int fd, uint32_t address, uint16_t port) {
    struct sockaddr_in place = inet_address(address, port);
    if (connect(fd, (struct sockaddr *)&place, sizeof place) == 0) return 1;
    return errno == EINPROGRESS ? 0 : -errno;
}
