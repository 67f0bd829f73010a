/* Functions of ours that lwIP calls at its hook points. Implemented in core/net. */
#ifndef OBLAKO_LWIP_HOOKS_H
#define OBLAKO_LWIP_HOOKS_H

#include "lwip/err.h"
#include "lwip/ip_addr.h"
#include "lwip/pbuf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct netif;
struct tcp_hdr;
struct tcp_pcb;
struct tcp_pcb_listen;

/* Initial sequence number: a keyed hash of the connection plus a clock (RFC 6528). */
u32_t oblako_tcp_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
                     u16_t remote_port);
/* The same for a connection that begins here, which may follow one in TIME_WAIT. */
u32_t oblako_tcp_isn_to(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
                        u16_t remote_port);
#define LWIP_HOOK_TCP_ISN oblako_tcp_isn_to

/* The table of connections (patch 08, core/net/tcp_lookup.cc). */
void oblako_tcp_added(struct tcp_pcb *connection);
void oblako_tcp_removed(struct tcp_pcb *connection);
struct tcp_pcb *oblako_tcp_find(const ip_addr_t *local_ip, u16_t local_port,
                                const ip_addr_t *remote_ip, u16_t remote_port);
#define LWIP_HOOK_TCP_ADDED oblako_tcp_added
#define LWIP_HOOK_TCP_REMOVED oblako_tcp_removed
#define LWIP_HOOK_TCP_FIND oblako_tcp_find

/* The table of local ports, and the listener of a connection (patch 52, core/net/tcp_ports.cc). */
err_t oblako_tcp_bound(struct tcp_pcb *block);
void oblako_tcp_unbound(struct tcp_pcb *block);
void oblako_tcp_listening(struct tcp_pcb_listen *listener);
void oblako_tcp_listen_closed(struct tcp_pcb_listen *listener);
struct tcp_pcb_listen *oblako_tcp_listener(const ip_addr_t *local_ip, u16_t local_port,
                                           const ip_addr_t *remote_ip, u16_t remote_port);
#define LWIP_HOOK_TCP_BOUND oblako_tcp_bound
#define LWIP_HOOK_TCP_UNBOUND oblako_tcp_unbound
#define LWIP_HOOK_TCP_LISTENING oblako_tcp_listening
#define LWIP_HOOK_TCP_LISTEN_CLOSED oblako_tcp_listen_closed
#define LWIP_HOOK_TCP_LISTENER oblako_tcp_listener

/* Half-open connections, and those in TIME_WAIT (patch 31, core/net/tcp_handshake.cc). A segment
 * that belongs to no control block, its numbers in the host's byte order: */
struct oblako_tcp_segment {
  struct tcp_hdr *header;
  u8_t flags;
  u32_t sequence, acknowledged;
  u16_t length; /* SYN and FIN count */
  u16_t options_length, options_first; /* how many octets; how many of them follow the header */
  const u8_t *options_rest;            /* where the others are */
};
/* A new connection in SYN_RCVD that is to process the segment, or NULL. */
struct tcp_pcb *oblako_tcp_listen_input(struct tcp_pcb_listen *listener,
                                        const struct oblako_tcp_segment *segment);
#define LWIP_HOOK_TCP_LISTEN_INPUT(listener, header, flags, seq, ack, length, opts, opts1, opts2)  \
  oblako_tcp_listen_input(listener,                                                                \
                          &(struct oblako_tcp_segment){header, flags, seq, ack, length, opts,      \
                                                       opts1, opts2})
/* True if the segment was for a connection in TIME_WAIT and is dealt with. */
u8_t oblako_tcp_time_wait_input(const struct oblako_tcp_segment *segment);
#define LWIP_HOOK_TCP_TIME_WAIT_INPUT(header, flags, seq, ack, length)                             \
  oblako_tcp_time_wait_input(                                                                      \
      &(struct oblako_tcp_segment){header, flags, seq, ack, length, 0, 0, NULL})
/* The connection has come to TIME_WAIT; its block is freed. */
void oblako_tcp_time_wait(struct tcp_pcb *connection);
#define LWIP_HOOK_TCP_TIME_WAIT oblako_tcp_time_wait

/* Challenge ACKs (RFC 5961, patch 32, core/net/tcp_watch.cc): may this connection send one now? */
u8_t oblako_tcp_may_challenge(struct tcp_pcb *connection);
#define LWIP_HOOK_TCP_MAY_CHALLENGE oblako_tcp_may_challenge

/* Recovery from loss (patch 33, core/net/tcp_recovery.cc). */
struct tcp_sack_range;
u8_t oblako_tcp_sack(struct tcp_pcb *connection, const struct tcp_sack_range *blocks, u8_t count);
void oblako_tcp_duplicate(struct tcp_pcb *connection);
u8_t oblako_tcp_recovering(struct tcp_pcb *connection, u32_t acknowledged);
void oblako_tcp_partial(struct tcp_pcb *connection, u32_t bytes);
#define LWIP_HOOK_TCP_SACK oblako_tcp_sack
#define LWIP_HOOK_TCP_DUPLICATE oblako_tcp_duplicate
#define LWIP_HOOK_TCP_RECOVERING oblako_tcp_recovering
#define LWIP_HOOK_TCP_PARTIAL oblako_tcp_partial

/* The congestion window after an acknowledgement of new data (patch 45, core/net/congestion.cc). */
void oblako_tcp_grow(struct tcp_pcb *connection, u32_t acknowledged);
#define LWIP_HOOK_TCP_GROW oblako_tcp_grow

/* What of the octets from left to right is there already (patch 44, core/net/tcp_held.cc): the first
 * such part, if the other side is to hear of it; true if all of it is held out of sequence, and
 * within what. */
u8_t oblako_tcp_held(const struct tcp_pcb *connection, u32_t left, u32_t right,
                     struct tcp_sack_range *duplicate, struct tcp_sack_range *around);
#define LWIP_HOOK_TCP_HELD oblako_tcp_held

/* Whether there is memory for so much data at this place of the sequence (patch 70,
 * core/net/memory_pressure.cc). */
u8_t oblako_tcp_may_take(const struct tcp_pcb *connection, u32_t sequence, u32_t bytes);
#define LWIP_HOOK_TCP_MAY_TAKE oblako_tcp_may_take

/* Timers of connections (patch 30, core/net/tcp_timers.cc). Nothing that begins now is due earlier
 * than OBLAKO_TCP_NEAR, so a timer that fires by then will see to it; but for the probe for a lost
 * tail, with more than a segment in flight. */
void oblako_tcp_arm(struct tcp_pcb *connection);
#define OBLAKO_TCP_NEAR 40
/* There was no memory for what it has to send, or no room in the device (core/net/tcp_deferred.cc). */
void oblako_tcp_refused(struct tcp_pcb *connection);
#define LWIP_HOOK_TCP_TOUCHED(pcb)                                                                 \
  do {                                                                                             \
    if (!(pcb)->timer.link || (s32_t)((pcb)->timer.due - tcp_ticks) > OBLAKO_TCP_NEAR ||           \
        (pcb)->snd_nxt - (pcb)->lastack > (pcb)->mss)                                              \
      oblako_tcp_arm(pcb);                                                                         \
    if ((pcb)->flags & TF_NAGLEMEMERR)                                                             \
      oblako_tcp_refused(pcb);                                                                     \
  } while (0)

/* tcp_write() by reference: a pbuf that holds the send_buffer being queued (patch 05,
 * core/net/send_buffer.cc). */
struct pbuf *oblako_tcp_reference(u16_t length);
#define TCP_WRITE_REFERENCE(layer, length) oblako_tcp_reference(length)

/* Large segments (patch 20): what the interface's device cuts itself (core/net/interface.cc), and
 * splitting one without a copy (core/net/send_buffer.cc). */
u16_t oblako_tcp_large_segment(const struct netif *n, const ip_addr_t *remote_ip);
struct pbuf *oblako_tcp_split_reference(struct pbuf *p, u16_t offset, u16_t length);
#define TCP_LARGE_SEGMENT(netif, remote_ip) oblako_tcp_large_segment(netif, remote_ip)
#define TCP_SPLIT_REFERENCE(p, offset, length) oblako_tcp_split_reference(p, offset, length)

/* Called when a large segment's acknowledgement is due with those of its batch (patch 22,
 * core/net/tcp_deferred.cc). */
void oblako_tcp_ack_soon(struct tcp_pcb *connection);
#define LWIP_HOOK_TCP_ACK_SOON oblako_tcp_ack_soon
/* So much data has been taken in sequence (patch 47). */
void oblako_tcp_ack_data(struct tcp_pcb *connection, u32_t bytes);
#define LWIP_HOOK_TCP_ACK_DATA oblako_tcp_ack_data

/* Set when a packet waits on an interface's loopback queue (patch 12, core/net/stack.cc). */
extern u8_t oblako_loopback_queued;
#define LWIP_HOOK_LOOPBACK_QUEUED()                                                                \
  do {                                                                                             \
    oblako_loopback_queued = 1;                                                                    \
  } while (0)

/* Memory of packet buffers (patch 09, core/net/pools.cc). */
void *oblako_pbuf_allocate(size_t bytes);
void oblako_pbuf_release(struct pbuf *p);
#define PBUF_RAM_MALLOC oblako_pbuf_allocate
#define PBUF_RAM_FREE oblako_pbuf_release

/* The short way out for TCP over IPv4 (patch 10, core/net/fast_path.cc). */
err_t oblako_tcp_output_if(struct pbuf *p, const ip_addr_t *src, const ip_addr_t *dst, u8_t ttl,
                           u8_t tos, u8_t protocol, struct netif *n);
#define TCP_OUTPUT_IF oblako_tcp_output_if
/* And, for both ways, what is known before (patch 34): the interface to a neighbour that was sent
 * to a moment ago, or NULL; and that a segment came in for our address. */
struct netif *oblako_tcp_route(const ip_addr_t *src, const ip_addr_t *dst);
extern u8_t oblako_tcp_to_our_address;
#define LWIP_HOOK_TCP_ROUTE oblako_tcp_route
#define LWIP_TCP_TO_OUR_ADDRESS oblako_tcp_to_our_address

/* Datagram sockets that share an address (patch 50, core/net/shared_address.cc). */
struct udp_pcb;
struct udp_pcb *oblako_udp_receiver(struct udp_pcb *found, u16_t remote_port);
#define LWIP_HOOK_UDP_RECEIVER oblako_udp_receiver

/* A packet of ours did not arrive (patch 51, core/net/icmp_error.cc). */
void oblako_icmp_error(struct pbuf *p, u16_t ip_header);
#define LWIP_HOOK_ICMP_ERROR oblako_icmp_error
/* May we tell somebody of a packet that begins at `p`, or answer an echo request now (patch 51,
 * core/net/icmp_limit.cc)? */
u8_t oblako_icmp_may_tell(const struct pbuf *p);
u8_t oblako_icmp6_may_tell(const struct pbuf *p, u8_t type, u8_t code, const ip6_addr_t *to);
u8_t oblako_icmp_may_echo(void);
#define LWIP_HOOK_ICMP_MAY_TELL oblako_icmp_may_tell
#define LWIP_HOOK_ICMP6_MAY_TELL oblako_icmp6_may_tell
#define LWIP_HOOK_ICMP_MAY_ECHO oblako_icmp_may_echo

/* What paths take (patch 60, core/net/path_mtu.cc); the largest segment that we take. */
u16_t oblako_ip4_path_mtu(const struct netif *n, const ip4_addr_t *to);
u16_t oblako_ip6_path_mtu(const struct netif *n, const ip6_addr_t *to);
void oblako_ip_sent_whole(struct pbuf *p, u16_t ip_header);
u16_t oblako_tcp_announced_mss(const struct netif *n, const ip_addr_t *remote_ip);
#define LWIP_HOOK_IP4_PATH_MTU oblako_ip4_path_mtu
#define LWIP_HOOK_IP6_PATH_MTU oblako_ip6_path_mtu
#define LWIP_HOOK_IP_SENT_WHOLE oblako_ip_sent_whole
#define LWIP_HOOK_TCP_ANNOUNCED_MSS oblako_tcp_announced_mss

/* Identifications of datagrams that may be cut into fragments (patch 62, core/net/identifiers.cc). */
struct ip6_hdr;
u16_t oblako_ip4_id(const ip4_addr_t *from, const ip4_addr_t *to, u8_t protocol);
u32_t oblako_ip6_fragment_id(const struct ip6_hdr *header);
#define LWIP_HOOK_IP4_ID oblako_ip4_id
#define LWIP_HOOK_IP6_FRAGMENT_ID oblako_ip6_fragment_id

/* Packets that no host can have sent (core/net/martians.cc). True: it is dropped, and freed. */
int oblako_ip4_input(struct pbuf *p, struct netif *in);
int oblako_ip6_input(struct pbuf *p, struct netif *in);
#define LWIP_HOOK_IP4_INPUT oblako_ip4_input
#define LWIP_HOOK_IP6_INPUT oblako_ip6_input

/* Addresses that others claim (patch 63, core/net/claimed_addresses.cc). */
struct etharp_hdr;
void oblako_nd6_conflict(struct netif *n, s8_t address);
void oblako_nd6_nonce(struct netif *n, const ip6_addr_t *target, u8_t *option);
u8_t oblako_nd6_looped_back(const struct pbuf *p, struct netif *n, s8_t address);
u8_t oblako_arp_usable(struct netif *n, const struct etharp_hdr *message);
#define LWIP_HOOK_ND6_CONFLICT oblako_nd6_conflict
#define LWIP_HOOK_ND6_NONCE oblako_nd6_nonce
#define LWIP_HOOK_ND6_LOOPED_BACK oblako_nd6_looped_back
#define LWIP_HOOK_ARP_USABLE oblako_arp_usable

/* Whether an answer of a DHCP server is one to take (patch 54, core/net/addressing.cc). */
u8_t oblako_dhcp_usable(u32_t address, u32_t mask, u32_t lease);
#define LWIP_HOOK_DHCP_USABLE oblako_dhcp_usable

/* A name server that a router announces, with its lifetime in seconds (patch 55,
 * core/net/name_servers.cc). */
void oblako_nd6_rdnss(struct netif *n, const ip6_addr_t *server, u32_t lifetime);
#define LWIP_HOOK_ND6_RDNSS oblako_nd6_rdnss

/* The IPv6 gateway the command line gives (core/net/addressing.cc). */
const ip6_addr_t *oblako_nd6_gateway(struct netif *n, const ip6_addr_t *to);
#define LWIP_HOOK_ND6_GET_GW oblako_nd6_gateway

#ifdef __cplusplus
}
#endif

#endif
