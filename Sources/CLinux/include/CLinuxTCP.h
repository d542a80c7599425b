// TCP connections to the machine's own services. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_TCP_H
#define CLINUX_TCP_H

#include <stddef.h>
#include <stdint.h>

typedef struct { uint8_t bytes[16]; int length; } clinux_address; // 4 bytes of IPv4 or 16 of IPv6

// Begins to connect: a CLOEXEC, non-blocking socket without Nagle's delay, writable once that is decided.
int clinux_tcp_connect(const clinux_address *address, uint16_t port);
// What became of it: 0, or why it failed.
int clinux_socket_error(int fd);
// Says that no more is sent.
int clinux_finish_sending(int fd);
// Closing the socket will reset the connection instead of ending it.
int clinux_reset_at_close(int fd);
// Addresses of this machine's cards that are up, loopback and link-local ones left out. Gives how many were filled in.
int clinux_own_addresses(clinux_address *addresses, int capacity);

// Whether a server could listen at 127.0.0.1 and this port now: 1 or 0.
int clinux_loopback_port_is_free(uint16_t port);

#endif
