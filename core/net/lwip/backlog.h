/* Who waits at a listener (core/net/backlog.hh), in C because lwIP's listeners hold the queues. */
#ifndef OBLAKO_BACKLOG_H
#define OBLAKO_BACKLOG_H

#include <stdint.h>

struct backlog;

struct backlog_place {
  struct backlog_place *before, *behind;
  struct backlog *at; /* NULL: in no queue */
  uint8_t queue;
  uint8_t is_record; /* of the half-open connections (core/net/syn_queue.hh); else a socket */
};

enum { backlog_half_open, backlog_waiting, backlog_accepted, backlog_queues };

struct backlog {
  struct {
    struct backlog_place *first, *last;
  } queues[backlog_queues];
  uint32_t records; /* in them */
  struct backlog *next_with_room;
  uint8_t has_room;
};

#endif
