/* How lwIP is used here: as a protocol engine without threads (NO_SYS) under one lock, on its raw
 * API, with all memory from the kernel heap. lwIP's opt.h documents each option. */
#ifndef OBLAKO_LWIPOPTS_H
#define OBLAKO_LWIPOPTS_H

#include "core/net/lwip/backlog.h"
#include "core/net/lwip/cubic_state.h"
#include "core/net/lwip/recovery_state.h"
#include "core/net/lwip/wheel_timer.h"
#include <stdint.h>

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_COMPAT_SOCKETS 0
#define LWIP_TIMERS 0 /* core/net/timers.cc calls the protocols' timer functions */
#define LWIP_STATS 0
/* With -ffreestanding plain memcpy is a call even for four bytes. */
#define MEMCPY(dst, src, len) __builtin_memcpy(dst, src, len)
#define SMEMCPY(dst, src, len) __builtin_memcpy(dst, src, len)
#define MEMMOVE(dst, src, len) __builtin_memmove(dst, src, len)

/* --- memory: everything from the heap, so that the number of connections is set by memory; what
 * every packet needs through free lists (core/net/pools.cc instead of memp.c) */
#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define PBUF_POOL_SIZE 0
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_PBUF_REF_T uint16_t
#define LWIP_PBUF_CUSTOM_DATA uint8_t size_class; /* core/net/pools.cc */

/* --- link layer */
#define LWIP_ARP 1
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 64
#define ARP_TABLE_SIZE 126
#define ETHARP_SUPPORT_STATIC_ENTRIES 0
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_HAVE_LOOPIF 1
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1

/* --- IPv4 */
#define LWIP_IPV4 1
#define IP_REASSEMBLY 1
#define IP_FRAG 1
/* How many fragments may wait: as memory allows (core/net/memory_pressure.cc). */
#ifdef __cplusplus
extern "C"
#endif
uint16_t oblako_most_fragments(void);
#define IP_REASS_MAX_PBUFS oblako_most_fragments()
#define MEMP_NUM_REASSDATA 16
#define IP_DEFAULT_TTL 64
#define IP_SOF_BROADCAST 1
#define IP_SOF_BROADCAST_RECV 0
#define LWIP_ICMP 1
#define LWIP_RAW 0
#define LWIP_IGMP 0
#define LWIP_AUTOIP 0
/* The libc has its own resolver; this only makes DHCP ask for name servers. dns.c is not compiled,
 * core/net/name_servers.cc has the function that is called. */
#define LWIP_DNS 1
#define DNS_MAX_SERVERS 3
#define LWIP_DHCP 1
#define DHCP_COARSE_TIMER_SECS 1 /* what a lease is counted in (patch 54) */
#define DHCP_DOES_ARP_CHECK 0 /* it costs seconds */
#define LWIP_DHCP_BOOTP_FILE 0

/* --- IPv6 */
#define LWIP_IPV6 1
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 1
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 1
#define LWIP_ND6_QUEUEING 1
#define LWIP_ND6_NUM_NEIGHBORS 126
#define LWIP_ND6_NUM_DESTINATIONS 126
#define LWIP_IPV6_DHCP6 0
// The reassembly note does not fit over a fragment header with 64-bit pointers.
#define IPV6_FRAG_COPYHEADER 1

/* --- UDP and TCP */
#define LWIP_UDP 1
#define LWIP_TCP 1
#define SO_REUSE 1
#define SO_REUSE_RXTOALL 0
#define TCP_TTL 64
#define UDP_TTL 64
#define TCP_MSS 1460
#define TCP_OVERSIZE TCP_MSS
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_QUEUE_OOSEQ 1
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 3
#define LWIP_TCP_TIMESTAMPS 0
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1
#define LWIP_CALLBACK_API 1
#define LWIP_TCP_PCB_NUM_EXT_ARGS 0
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

/* Windows and buffers follow the size of the VM; core/net/port.cc sets them once at start. Windows
 * grow from there (patch 21), send buffers are limited by our sockets. */
extern uint32_t oblako_tcp_window;
extern uint32_t oblako_tcp_send_buffer;
#define TCP_WND oblako_tcp_window
#define TCP_SND_BUF oblako_tcp_send_buffer
#define TCP_SND_QUEUELEN 0xfff0
#define TCP_SNDLOWAT (TCP_SND_BUF / 3)
#define TCP_SNDQUEUELOWAT 0x7ff0
#define TCP_WND_UPDATE_THRESHOLD (TCP_WND / 4)

/* Times in milliseconds, and so is a tick (core/net/tcp_timers.cc). The retransmission time-out
 * is one second at first (RFC 6298) and leaves the peer 200 ms beyond the round trip, as Linux
 * does. */
#define TCP_SLOW_INTERVAL 1
#define LWIP_TCP_RTO_TIME 1000
#define TCP_RTO_MIN 200
#define TCP_MSL 5000UL
#define TCP_SYNMAXRTX 6
#define TCP_MAXRTX 15
/* Connections have no function that is called from time to time (patch 56). */
#define LWIP_TCP_NO_POLL 1
/* What this port keeps with a connection: its timer; its place among those whose socket is closed
 * (core/net/tcp_watch.cc), and among those that could not send (core/net/tcp_deferred.cc); its
 * congestion control; its recovery from loss, and where that ends; since when its challenges are
 * counted, and how many there were; and when its socket was closed, in quarters of a second. */
#define TCP_PCB_PORT_FIELDS                                                                        \
  struct wheel_timer timer;                                                                        \
  struct tcp_pcb *orphan_next;                                                                     \
  struct tcp_pcb **orphan_link;                                                                    \
  struct tcp_pcb *refused_next;                                                                    \
  struct tcp_pcb **refused_link;                                                                   \
  struct tcp_cubic cubic;                                                                          \
  struct tcp_recovery recovery;                                                                    \
  uint32_t recover, challenged;                                                                    \
  uint8_t challenges, closed_at;
/* With a listener: who waits at it. */
#define TCP_PCB_LISTEN_PORT_FIELDS struct backlog queues;
/* And with a segment that was sent again: when. */
#define TCP_SEG_PORT_FIELDS                                                                        \
  struct tcp_send_order again;                                                                     \
  uint32_t again_at;

/* --- checksums: per interface and per frame, core/net/interface.cc decides */
#define CHECKSUM_GEN_IP 1
#define CHECKSUM_GEN_UDP 1
#define CHECKSUM_GEN_TCP 1
#define CHECKSUM_CHECK_IP 1
#define CHECKSUM_CHECK_UDP 1
#define CHECKSUM_CHECK_TCP 1
#define LWIP_CHECKSUM_ON_COPY 0
#ifdef __cplusplus
extern "C"
#endif
uint16_t oblako_checksum(const void *data, int bytes);
#define LWIP_CHKSUM oblako_checksum

#define LWIP_HOOK_FILENAME "hooks.h"

#endif
