#define _GNU_SOURCE
#include "CLinuxNetwork.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#define CREATE (NLM_F_CREATE | NLM_F_EXCL)

int clinux_rtnl_open(void) { return netlink_socket(NETLINK_ROUTE, 0); }

int clinux_veth_create(
    int rtnl, const char *name, const uint8_t mac[CLINUX_MAC], const char *peer, const uint8_t peer_mac[CLINUX_MAC],
    int peer_namespace, uint32_t mtu) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct ifinfomsg down = {.ifi_family = AF_UNSPEC};
    netlink_message message;
    netlink_begin(&message, RTM_NEWLINK, CREATE, &link, sizeof link);
    netlink_put_text(&message, IFLA_IFNAME, name);
    netlink_put(&message, IFLA_ADDRESS, mac, CLINUX_MAC);
    netlink_put_u32(&message, IFLA_MTU, mtu);
    size_t info = netlink_nest(&message, IFLA_LINKINFO);
    netlink_put_text(&message, IFLA_INFO_KIND, "veth");
    size_t data = netlink_nest(&message, IFLA_INFO_DATA);
    size_t other = netlink_nest(&message, VETH_INFO_PEER);
    // It cannot be up before the two are linked.
    netlink_put_raw(&message, &down, sizeof down);
    netlink_put_text(&message, IFLA_IFNAME, peer);
    netlink_put(&message, IFLA_ADDRESS, peer_mac, CLINUX_MAC);
    netlink_put_u32(&message, IFLA_MTU, mtu);
    netlink_put_u32(&message, IFLA_NET_NS_FD, (uint32_t)peer_namespace);
    netlink_end_nest(&message, other);
    netlink_end_nest(&message, data);
    netlink_end_nest(&message, info);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_link_delete(int rtnl, const char *name) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    netlink_message message;
    netlink_begin(&message, RTM_DELLINK, 0, &link, sizeof link);
    netlink_put_text(&message, IFLA_IFNAME, name);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_link_move(int rtnl, const char *name, int target_namespace) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    netlink_message message;
    netlink_begin(&message, RTM_SETLINK, 0, &link, sizeof link);
    netlink_put_text(&message, IFLA_IFNAME, name);
    netlink_put_u32(&message, IFLA_NET_NS_FD, (uint32_t)target_namespace);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_link_set_group(int rtnl, const char *name, uint32_t group) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    netlink_message message;
    netlink_begin(&message, RTM_SETLINK, 0, &link, sizeof link);
    netlink_put_text(&message, IFLA_IFNAME, name);
    netlink_put_u32(&message, IFLA_GROUP, group);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_link_delete_group(int rtnl, uint32_t group) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    netlink_message message;
    netlink_begin(&message, RTM_DELLINK, 0, &link, sizeof link);
    netlink_put_u32(&message, IFLA_GROUP, group);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

typedef struct { clinux_link *links; size_t capacity, count; clinux_link_counters *counters; } link_list;

static int read_link(const struct nlmsghdr *answer, void *context) {
    link_list *list = context;
    if (answer->nlmsg_type != RTM_NEWLINK || answer->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg))) return 0;
    const struct ifinfomsg *info = NLMSG_DATA(answer);
    if (list->count < list->capacity) {
        clinux_link *link = &list->links[list->count];
        memset(link, 0, sizeof *link);
        link->index = info->ifi_index;
        const struct nlattr *name = netlink_find(answer, sizeof *info, IFLA_IFNAME);
        if (name) strncpy(link->name, netlink_value(name), sizeof link->name - 1);
    }
    list->count++;
    const struct nlattr *counted = netlink_find(answer, sizeof *info, IFLA_STATS64);
    if (list->counters && counted && netlink_length(counted) >= 4 * sizeof(uint64_t)) {
        // struct rtnl_link_stats64 begins with packets received and sent, then bytes.
        uint64_t values[4];
        memcpy(values, netlink_value(counted), sizeof values);
        *list->counters = (clinux_link_counters){
            .received_packets = values[0], .sent_packets = values[1], .received_bytes = values[2],
            .sent_bytes = values[3]};
    }
    return 0;
}

static int one_link(int rtnl, const char *name, link_list *list) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    netlink_message message;
    netlink_begin(&message, RTM_GETLINK, 0, &link, sizeof link);
    netlink_put_text(&message, IFLA_IFNAME, name);
    int error = netlink_exchange(rtnl, &message, read_link, list);
    return error < 0 ? error : list->count == 1 ? 0 : -ENODEV;
}

int clinux_link_index(int rtnl, const char *name) {
    clinux_link link;
    link_list list = {.links = &link, .capacity = 1};
    int error = one_link(rtnl, name, &list);
    return error < 0 ? error : link.index;
}

int clinux_link_statistics(int rtnl, const char *name, clinux_link_counters *out) {
    link_list list = {.counters = out};
    memset(out, 0, sizeof *out);
    return one_link(rtnl, name, &list);
}

ssize_t clinux_links(int rtnl, clinux_link *links, size_t capacity) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    link_list list = {.links = links, .capacity = capacity};
    netlink_message message;
    netlink_begin(&message, RTM_GETLINK, NLM_F_DUMP, &link, sizeof link);
    // No counters: they are most of what a list weighs.
    netlink_put_u32(&message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    int error = netlink_exchange(rtnl, &message, read_link, &list);
    return error < 0 ? error : (ssize_t)list.count;
}

int clinux_link_up(int rtnl, int index, const uint8_t mac[CLINUX_MAC], uint32_t mtu) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    netlink_message message;
    netlink_begin(&message, RTM_NEWLINK, 0, &link, sizeof link);
    netlink_put(&message, IFLA_ADDRESS, mac, CLINUX_MAC);
    netlink_put_u32(&message, IFLA_MTU, mtu);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_link_rename(int rtnl, int index, const char *name) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    netlink_message message;
    netlink_begin(&message, RTM_NEWLINK, 0, &link, sizeof link);
    netlink_put_text(&message, IFLA_IFNAME, name);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_address_add(int rtnl, int index, uint32_t address, int prefix) {
    struct ifaddrmsg entry = {.ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)prefix, .ifa_index = (uint32_t)index};
    netlink_message message;
    netlink_begin(&message, RTM_NEWADDR, CREATE, &entry, sizeof entry);
    netlink_put_u32(&message, IFA_LOCAL, htonl(address));
    netlink_put_u32(&message, IFA_ADDRESS, htonl(address));
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_route_add_default(int rtnl, int index, uint32_t gateway) {
    struct rtmsg route = {
        .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
    netlink_message message;
    netlink_begin(&message, RTM_NEWROUTE, CREATE, &route, sizeof route);
    netlink_put_u32(&message, RTA_GATEWAY, htonl(gateway));
    netlink_put_u32(&message, RTA_OIF, (uint32_t)index);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_neighbour_add(int rtnl, int index, uint32_t address, const uint8_t mac[CLINUX_MAC]) {
    struct ndmsg entry = {.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
    netlink_message message;
    netlink_begin(&message, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &entry, sizeof entry);
    netlink_put_u32(&message, NDA_DST, htonl(address));
    netlink_put(&message, NDA_LLADDR, mac, CLINUX_MAC);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

// ---- What is in use

typedef struct { clinux_range *ranges; size_t capacity, count; } range_list;

static void add_range(range_list *list, const struct nlattr *address, int prefix, int index, int is_address) {
    uint32_t bits = 0;
    if (address && netlink_length(address) == sizeof bits) memcpy(&bits, netlink_value(address), sizeof bits);
    if (list->count < list->capacity)
        list->ranges[list->count] = (clinux_range){
            .index = index, .address = ntohl(bits), .prefix = (uint8_t)prefix, .is_address = (uint8_t)is_address};
    list->count++;
}

static int read_address(const struct nlmsghdr *answer, void *context) {
    if (answer->nlmsg_type != RTM_NEWADDR || answer->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifaddrmsg))) return 0;
    const struct ifaddrmsg *entry = NLMSG_DATA(answer);
    const struct nlattr *address = netlink_find(answer, sizeof *entry, IFA_LOCAL);
    if (!address) address = netlink_find(answer, sizeof *entry, IFA_ADDRESS);
    if (address) add_range(context, address, entry->ifa_prefixlen, (int)entry->ifa_index, 1);
    return 0;
}

static int read_route(const struct nlmsghdr *answer, void *context) {
    if (answer->nlmsg_type != RTM_NEWROUTE || answer->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg))) return 0;
    const struct rtmsg *route = NLMSG_DATA(answer);
    if (route->rtm_table == RT_TABLE_LOCAL) return 0;
    int index = 0;
    const struct nlattr *out = netlink_find(answer, sizeof *route, RTA_OIF);
    if (out && netlink_length(out) == sizeof index) memcpy(&index, netlink_value(out), sizeof index);
    add_range(context, netlink_find(answer, sizeof *route, RTA_DST), route->rtm_dst_len, index, 0);
    return 0;
}

ssize_t clinux_ranges(int rtnl, clinux_range *ranges, size_t capacity) {
    range_list list = {.ranges = ranges, .capacity = capacity};
    struct ifaddrmsg entry = {.ifa_family = AF_INET};
    netlink_message message;
    netlink_begin(&message, RTM_GETADDR, NLM_F_DUMP, &entry, sizeof entry);
    int error = netlink_exchange(rtnl, &message, read_address, &list);
    if (error < 0) return error;
    struct rtmsg route = {.rtm_family = AF_INET};
    netlink_begin(&message, RTM_GETROUTE, NLM_F_DUMP, &route, sizeof route);
    error = netlink_exchange(rtnl, &message, read_route, &list);
    return error < 0 ? error : (ssize_t)list.count;
}

// ---- Rates

int clinux_rate_set(int rtnl, int index, uint64_t bytes_per_second, uint32_t burst, uint32_t queue) {
    struct tcmsg place = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = TC_H_ROOT};
    // With the link layer named the kernel computes times by itself and needs no table of them.
    struct tc_tbf_qopt options = {
        .rate = {
            .linklayer = TC_LINKLAYER_ETHERNET,
            .rate = bytes_per_second > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes_per_second},
        .limit = queue};
    netlink_message message;
    netlink_begin(&message, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &place, sizeof place);
    netlink_put_text(&message, TCA_KIND, "tbf");
    size_t nest = netlink_nest(&message, TCA_OPTIONS);
    netlink_put(&message, TCA_TBF_PARMS, &options, sizeof options);
    netlink_put(&message, TCA_TBF_RATE64, &bytes_per_second, sizeof bytes_per_second);
    netlink_put_u32(&message, TCA_TBF_BURST, burst);
    netlink_end_nest(&message, nest);
    return netlink_exchange(rtnl, &message, NULL, NULL);
}

int clinux_rate_clear(int rtnl, int index) {
    struct tcmsg place = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = TC_H_ROOT};
    netlink_message message;
    netlink_begin(&message, RTM_DELQDISC, 0, &place, sizeof place);
    int error = netlink_exchange(rtnl, &message, NULL, NULL);
    return error == -ENOENT || error == -EINVAL ? 0 : error;
}

typedef struct { int index; uint64_t rate; } rate_query;

static int read_rate(const struct nlmsghdr *answer, void *context) {
    rate_query *query = context;
    if (answer->nlmsg_type != RTM_NEWQDISC || answer->nlmsg_len < NLMSG_LENGTH(sizeof(struct tcmsg))) return 0;
    const struct tcmsg *place = NLMSG_DATA(answer);
    const struct nlattr *kind = netlink_find(answer, sizeof *place, TCA_KIND);
    const struct nlattr *nest = netlink_find(answer, sizeof *place, TCA_OPTIONS);
    if (place->tcm_ifindex != query->index || !kind || !nest || netlink_length(kind) != sizeof "tbf" ||
        memcmp(netlink_value(kind), "tbf", sizeof "tbf") != 0)
        return 0;
    const struct nlattr *wide = netlink_find_inside(nest, TCA_TBF_RATE64);
    const struct nlattr *plain = netlink_find_inside(nest, TCA_TBF_PARMS);
    if (wide && netlink_length(wide) == sizeof query->rate) {
        memcpy(&query->rate, netlink_value(wide), sizeof query->rate);
    } else if (plain && netlink_length(plain) >= sizeof(struct tc_tbf_qopt)) {
        struct tc_tbf_qopt options;
        memcpy(&options, netlink_value(plain), sizeof options);
        query->rate = options.rate.rate;
    }
    return 0;
}

int64_t clinux_rate(int rtnl, int index) {
    struct tcmsg place = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index};
    rate_query query = {.index = index};
    netlink_message message;
    netlink_begin(&message, RTM_GETQDISC, NLM_F_DUMP, &place, sizeof place);
    int error = netlink_exchange(rtnl, &message, read_rate, &query);
    return error < 0 ? error : (int64_t)query.rate;
}
