// Building and exchanging netlink messages (netlink(7)); for this folder only.
#ifndef CLINUX_NETLINK_H
#define CLINUX_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

// One request; `size` never passes the room there is, `failed` says that it would have.
typedef struct {
    _Alignas(8) uint8_t bytes[1024];
    size_t size;
    int failed;
} netlink_message;

// Begins a request with a fixed part behind the header.
void netlink_begin(netlink_message *message, uint16_t type, uint16_t flags, const void *fixed, size_t size);
void netlink_put(netlink_message *message, uint16_t type, const void *value, size_t size);
void netlink_put_text(netlink_message *message, uint16_t type, const char *text);
void netlink_put_u32(netlink_message *message, uint16_t type, uint32_t value);
// Opens a nested attribute; what it gives goes to netlink_end_nest.
size_t netlink_nest(netlink_message *message, uint16_t type);
void netlink_end_nest(netlink_message *message, size_t start);
// Room for bytes without an attribute's header.
void netlink_put_raw(netlink_message *message, const void *bytes, size_t size);

// Looks at one message of an answer; what is not 0 ends the exchange.
typedef int (*netlink_reader)(const struct nlmsghdr *message, void *context);
// Sends a request and reads until its acknowledgement or the end of its list. 0 or -errno.
int netlink_exchange(int fd, netlink_message *message, netlink_reader reader, void *context);

// The attribute of a type among those behind `offset` bytes of a message's body; NULL when it is not there.
const struct nlattr *netlink_find(const struct nlmsghdr *message, size_t offset, uint16_t type);
// The same inside a nested attribute.
const struct nlattr *netlink_find_inside(const struct nlattr *nest, uint16_t type);
static inline const void *netlink_value(const struct nlattr *attribute) { return (const uint8_t *)attribute + NLA_HDRLEN; }
static inline size_t netlink_length(const struct nlattr *attribute) {
    return attribute->nla_len >= NLA_HDRLEN ? (size_t)attribute->nla_len - NLA_HDRLEN : 0;
}

int netlink_socket(int protocol, int flags);

#endif
