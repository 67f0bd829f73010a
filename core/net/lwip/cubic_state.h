/* What a connection keeps for its congestion control (core/net/cubic.hh), in C because lwIP's
 * control blocks hold it. */
#ifndef OBLAKO_CUBIC_STATE_H
#define OBLAKO_CUBIC_STATE_H

#include <stdint.h>

/* Octets, and milliseconds. */
struct tcp_cubic {
  uint32_t w_max;        /* the window before the last reduction; 0: none, or a time-out */
  uint32_t w_max_before; /* the same before that, to undo it */
  uint32_t w_est;        /* what Reno's window would be; 0: no growth has begun */
  uint32_t began, k;     /* when it did, and how long until w_max is reached again */
};

#endif
