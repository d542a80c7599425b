#define _GNU_SOURCE
#include "CLinux.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_netfilter_open(void) { return netlink_socket(NETLINK_NETFILTER, 0); }

// ---- NFLOG

static int configure_log(int fd, uint16_t group, uint16_t type, const void *value, size_t size) {
    struct nfgenmsg place = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(group)};
    netlink_message message;
    netlink_begin(&message, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, 0, &place, sizeof place);
    netlink_put(&message, type, value, size);
    return netlink_exchange(fd, &message, NULL, NULL);
}

int clinux_nflog_open(uint16_t group, uint32_t range) {
    int fd = netlink_socket(NETLINK_NETFILTER, 0);
    if (fd < 0) return fd;
    struct nfulnl_msg_config_cmd bind = {.command = NFULNL_CFG_CMD_BIND};
    struct nfulnl_msg_config_mode mode = {.copy_mode = NFULNL_COPY_PACKET, .copy_range = htonl(range)};
    // Each packet is told at once: a batch of one, or what a hundredth of a second brought.
    uint32_t one = htonl(1);
    int error = configure_log(fd, group, NFULA_CFG_CMD, &bind, sizeof bind);
    if (!error) error = configure_log(fd, group, NFULA_CFG_MODE, &mode, sizeof mode);
    if (!error) error = configure_log(fd, group, NFULA_CFG_QTHRESH, &one, sizeof one);
    if (!error) error = configure_log(fd, group, NFULA_CFG_TIMEOUT, &one, sizeof one);
    int yes = 1;
    // What does not fit is lost without an error, which would have to be read first.
    if (!error && setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &yes, sizeof yes) < 0) error = -errno;
    if (!error) error = clinux_set_nonblocking(fd, 1);
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

// ---- Counters

static int read_counter(const struct nlmsghdr *answer, void *context) {
    int64_t *packets = context;
    if (answer->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWOBJ)) return 0;
    const struct nlattr *data = netlink_find(answer, sizeof(struct nfgenmsg), NFTA_OBJ_DATA);
    const struct nlattr *counted = data ? netlink_find_inside(data, NFTA_COUNTER_PACKETS) : NULL;
    uint64_t value;
    if (!counted || netlink_length(counted) != sizeof value) return -EBADMSG;
    memcpy(&value, netlink_value(counted), sizeof value);
    *packets = (int64_t)(be64toh(value) & INT64_MAX);
    return 0;
}

int64_t clinux_nft_counter(int netfilter, uint8_t family, const char *table, const char *name) {
    struct nfgenmsg place = {.nfgen_family = family, .version = NFNETLINK_V0};
    netlink_message message;
    netlink_begin(&message, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ, 0, &place, sizeof place);
    netlink_put_text(&message, NFTA_OBJ_TABLE, table);
    netlink_put_text(&message, NFTA_OBJ_NAME, name);
    netlink_put_u32(&message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
    int64_t packets = -ENOENT;
    int error = netlink_exchange(netfilter, &message, read_counter, &packets);
    return error < 0 ? error : packets;
}

// ---- Tracked connections

// The bit that stands for the source address in CTA_FILTER_ORIG_FLAGS (Linux 5.8, net/netfilter/nf_conntrack_netlink.c).
#define FILTER_IP_SOURCE 1u

int clinux_conntrack_forget(int netfilter, uint32_t source) {
    // A version other than 0 makes the family count.
    struct nfgenmsg place = {.nfgen_family = AF_INET, .version = 1};
    netlink_message message;
    netlink_begin(&message, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, &place, sizeof place);
    size_t tuple = netlink_nest(&message, CTA_TUPLE_ORIG);
    size_t ip = netlink_nest(&message, CTA_TUPLE_IP);
    netlink_put_u32(&message, CTA_IP_V4_SRC, htonl(source));
    netlink_end_nest(&message, ip);
    netlink_end_nest(&message, tuple);
    size_t filter = netlink_nest(&message, CTA_FILTER);
    netlink_put_u32(&message, CTA_FILTER_ORIG_FLAGS, FILTER_IP_SOURCE);
    netlink_end_nest(&message, filter);
    int error = netlink_exchange(netfilter, &message, NULL, NULL);
    return error == -ENOENT ? 0 : error;
}
