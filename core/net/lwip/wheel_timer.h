/* A timer on a wheel (core/net/timer_wheel.hh), in C because lwIP's control blocks hold one. */
#ifndef OBLAKO_WHEEL_TIMER_H
#define OBLAKO_WHEEL_TIMER_H

#include <stdint.h>

struct wheel_timer {
  struct wheel_timer *next;
  struct wheel_timer **link; /* what points here; NULL: not armed */
  uint32_t due;
};

#endif
