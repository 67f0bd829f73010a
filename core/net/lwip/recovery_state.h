/* What a connection keeps for its recovery from loss (core/net/tcp_recovery.cc), in C because lwIP's
 * control blocks hold it. */
#ifndef OBLAKO_RECOVERY_STATE_H
#define OBLAKO_RECOVERY_STATE_H

#include <stdint.h>

/* When something was sent, relative to all else of its connection, without a clock: the first octet
 * that had not been sent then, and how many had been sent again; 0 for what is sent first. */
struct tcp_send_order {
  uint32_t octet;
  uint16_t turn;
};

struct tcp_recovery {
  struct tcp_send_order delivered; /* the latest of what is known to have arrived */
  struct tcp_send_order overtaken; /* what was sent before is waited for, since then */
  uint32_t overtaken_since;
  uint32_t window;                    /* the congestion window, while cwnd is made for lwIP */
  uint32_t flight, arrived, seen, sent, counted; /* octets of this recovery (RFC 6937) */
  uint32_t old_window, old_threshold, began; /* to undo it */
  uint16_t repeats;                          /* segments sent again that may have been in vain */
  uint16_t turn;                             /* the last one given */
  uint8_t phase;
  uint8_t patience; /* the reordering window in quarters of a round trip; 0: none was seen */
  uint8_t waiting : 1, probed : 1, may_undo : 1, has_sacks : 1;
  uint8_t doubted : 1; /* something of this recovery was sent again in vain */
  uint8_t suspect : 1; /* the time-out may have been too early (RFC 5682) */
  uint8_t original : 1; /* what it called lost has arrived without being sent again */
  uint8_t calm : 4;     /* recoveries that were not doubted, one after the other */
  uint8_t quick : 4;    /* whole segments that were acknowledged at once (core/net/tcp_deferred.cc) */
  uint16_t whole_at;    /* when the last one came */
};

#endif
