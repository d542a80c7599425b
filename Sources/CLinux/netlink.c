#define _GNU_SOURCE
#include "netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536

static void put(netlink_message *message, const void *bytes, size_t size) {
    size_t padded = NLMSG_ALIGN(size);
    if (message->failed || padded > sizeof message->bytes - message->size) {
        message->failed = 1;
        return;
    }
    if (size) memcpy(message->bytes + message->size, bytes, size);
    memset(message->bytes + message->size + size, 0, padded - size);
    message->size += padded;
}

void netlink_begin(netlink_message *message, uint16_t type, uint16_t flags, const void *fixed, size_t size) {
    struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
    message->size = 0;
    message->failed = 0;
    put(message, &header, sizeof header);
    put(message, fixed, size);
}

void netlink_put(netlink_message *message, uint16_t type, const void *value, size_t size) {
    struct nlattr attribute = {.nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = type};
    put(message, &attribute, sizeof attribute);
    put(message, value, size);
}

void netlink_put_text(netlink_message *message, uint16_t type, const char *text) {
    netlink_put(message, type, text, strlen(text) + 1);
}

void netlink_put_u32(netlink_message *message, uint16_t type, uint32_t value) {
    netlink_put(message, type, &value, sizeof value);
}

void netlink_put_raw(netlink_message *message, const void *bytes, size_t size) { put(message, bytes, size); }

size_t netlink_nest(netlink_message *message, uint16_t type) {
    size_t start = message->size;
    netlink_put(message, type | NLA_F_NESTED, NULL, 0);
    return start;
}

void netlink_end_nest(netlink_message *message, size_t start) {
    if (message->failed) return;
    ((struct nlattr *)(message->bytes + start))->nla_len = (uint16_t)(message->size - start);
}

int netlink_socket(int protocol, int flags) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol);
    if (fd < 0) return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int netlink_exchange(int fd, netlink_message *message, netlink_reader reader, void *context) {
    static _Thread_local uint32_t sequence;
    if (message->failed) return -EMSGSIZE;
    struct nlmsghdr *header = (struct nlmsghdr *)message->bytes;
    header->nlmsg_len = (uint32_t)message->size;
    header->nlmsg_seq = ++sequence;
    int is_list = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (!is_list) header->nlmsg_flags |= NLM_F_ACK;
    while (send(fd, message->bytes, message->size, 0) < 0)
        if (errno != EINTR) return -errno;

    _Alignas(8) uint8_t buffer[BUFFER];
    int result = 0;
    for (;;) {
        struct sockaddr_nl from;
        struct iovec part = {.iov_base = buffer, .iov_len = sizeof buffer};
        struct msghdr envelope = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
        ssize_t count = recvmsg(fd, &envelope, 0);
        if (count < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        if (envelope.msg_flags & MSG_TRUNC) return -EMSGSIZE;
        // Nobody but the kernel may answer.
        if (from.nl_pid != 0) continue;
        for (struct nlmsghdr *answer = (struct nlmsghdr *)buffer; NLMSG_OK(answer, count);
             answer = NLMSG_NEXT(answer, count)) {
            if (answer->nlmsg_seq != header->nlmsg_seq) continue;
            if (answer->nlmsg_type == NLMSG_ERROR || answer->nlmsg_type == NLMSG_DONE) {
                int code = 0;
                if (answer->nlmsg_len >= NLMSG_LENGTH(sizeof code)) memcpy(&code, NLMSG_DATA(answer), sizeof code);
                if (answer->nlmsg_type == NLMSG_DONE && code > 0) code = 0;
                return code < 0 ? code : result;
            }
            if (reader && result == 0) result = reader(answer, context);
        }
    }
}

static const struct nlattr *find(const uint8_t *bytes, size_t size, uint16_t type) {
    while (size >= NLA_HDRLEN) {
        const struct nlattr *attribute = (const struct nlattr *)bytes;
        if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > size) return NULL;
        if ((attribute->nla_type & NLA_TYPE_MASK) == type) return attribute;
        size_t step = NLA_ALIGN(attribute->nla_len);
        if (step > size) return NULL;
        bytes += step;
        size -= step;
    }
    return NULL;
}

const struct nlattr *netlink_find(const struct nlmsghdr *message, size_t offset, uint16_t type) {
    size_t skipped = NLMSG_HDRLEN + NLMSG_ALIGN(offset);
    if (message->nlmsg_len < skipped) return NULL;
    return find((const uint8_t *)message + skipped, message->nlmsg_len - skipped, type);
}

const struct nlattr *netlink_find_inside(const struct nlattr *nest, uint16_t type) {
    return find(netlink_value(nest), netlink_length(nest), type);
}
