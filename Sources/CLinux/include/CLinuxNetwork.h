// Network namespaces, links, addresses, routes, rates, taps and sockets of the thread's own namespace: rtnetlink(7),
// nfnetlink, tun. Addresses are in host byte order. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_NETWORK_H
#define CLINUX_NETWORK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// ---- Namespaces
// The calling thread's network namespace, open.
int clinux_netns_current(void);
// Moves the calling thread into a network namespace, for as long as it does not move again.
int clinux_netns_enter(int fd);
// Moves the calling thread into a new network namespace.
int clinux_netns_unshare(void);
// The network namespace of a process, open.
int clinux_netns_of_process(pid_t pid);

// Names the calling thread for ps(1) and debuggers; 15 bytes at most.
int clinux_name_thread(const char *name);

// ---- Descriptors of a thread's own
// Gives the calling thread a table of descriptors of its own, in which only the first three and `keep` are open.
int clinux_own_descriptors(int keep);
// Passes a descriptor through a unix socket, between tables or processes (unix(7), SCM_RIGHTS).
int clinux_send_descriptor(int channel, int fd);
int clinux_receive_descriptor(int channel);

// Whether a descriptor is a netlink socket: 1 or 0.
int clinux_is_netlink(int fd);

// ---- Links (rtnetlink)
#define CLINUX_MAC 6
#define CLINUX_LINK_NAME 16

// A socket that speaks for the namespace it is opened in.
int clinux_rtnl_open(void);
// Two linked interfaces; the first is brought up, the peer is in another namespace.
int clinux_veth_create(
    int rtnl, const char *name, const uint8_t mac[CLINUX_MAC], const char *peer, const uint8_t peer_mac[CLINUX_MAC],
    int peer_namespace, uint32_t mtu);
int clinux_link_delete(int rtnl, const char *name);
// Moves an interface into another namespace.
int clinux_link_move(int rtnl, const char *name, int target_namespace);
// Puts an interface into a group, and deletes all of a group, which takes hardly longer than one.
int clinux_link_set_group(int rtnl, const char *name, uint32_t group);
int clinux_link_delete_group(int rtnl, uint32_t group);
// The index of an interface.
int clinux_link_index(int rtnl, const char *name);
// Sets the address and the size of packets, and brings the interface up.
int clinux_link_up(int rtnl, int index, const uint8_t mac[CLINUX_MAC], uint32_t mtu);
int clinux_link_rename(int rtnl, int index, const char *name);
int clinux_address_add(int rtnl, int index, uint32_t address, int prefix);
int clinux_route_add_default(int rtnl, int index, uint32_t gateway);
// Says once and for all which hardware address a neighbour has.
int clinux_neighbour_add(int rtnl, int index, uint32_t address, const uint8_t mac[CLINUX_MAC]);

typedef struct { int index; char name[CLINUX_LINK_NAME]; } clinux_link;
// All interfaces; gives how many there are, which may be more than the `capacity` that was filled.
ssize_t clinux_links(int rtnl, clinux_link *links, size_t capacity);

typedef struct { uint64_t received_bytes, sent_bytes, received_packets, sent_packets; } clinux_link_counters;
int clinux_link_statistics(int rtnl, const char *name, clinux_link_counters *out);

typedef struct { int index; uint32_t address; uint8_t prefix; uint8_t is_address; } clinux_range;
// The addresses of this namespace's interfaces (is_address), and the IPv4 routes of all tables but local ones.
ssize_t clinux_ranges(int rtnl, clinux_range *ranges, size_t capacity);

// ---- Rates (tc-tbf(8))
// Lets no more than so many bytes a second out of an interface; replaces an earlier rate.
int clinux_rate_set(int rtnl, int index, uint64_t bytes_per_second, uint32_t burst, uint32_t queue);
// Takes a rate away; fine when there is none.
int clinux_rate_clear(int rtnl, int index);
// The rate in force in bytes a second; 0 when there is none.
int64_t clinux_rate(int rtnl, int index);

// ---- Taps (the kernel's Documentation/networking/tuntap.rst)
// Opens the tap of a name, making it if need be: one queue, virtio-net headers, no packet information. It stays when
// the descriptor is closed.
int clinux_tap_open(const char *name);

// ---- Netfilter
// A non-blocking NFLOG socket that gets the first `range` bytes of packets logged to a group of this namespace.
int clinux_nflog_open(uint16_t group, uint32_t range);
// A socket for the two below.
int clinux_netfilter_open(void);
// The packets a named counter of nftables has counted. family: NFPROTO_*.
int64_t clinux_nft_counter(int netfilter, uint8_t family, const char *table, const char *name);
// Forgets the tracked connections that come from an address.
int clinux_conntrack_forget(int netfilter, uint32_t source);

// ---- Sockets, all non-blocking
// type: SOCK_STREAM or SOCK_DGRAM. Bound to the address when port is not 0; listening when backlog is not 0; marked
// (SO_MARK) when mark is not 0.
int clinux_inet_socket(int type, uint32_t address, uint16_t port, int backlog, uint32_t mark);
// Starts connecting: 1 when it is connected at once, 0 when it has begun; then clinux_socket_error tells how it ended.
int clinux_inet_connect(int fd, uint32_t address, uint16_t port);

#endif
