#include "core/net/stack.hh"

#include "core/base/needs.hh"
#include "core/net/capture.hh"
#include "core/net/engine.hh"
#include "core/net/interface.hh"
#include "core/net/poller.hh"
#include "core/net/port.hh"
#include "core/net/service.hh"
#include "core/net/tcp_deferred.hh"
#include "core/net/tcp_watch.hh"
#include "core/net/timers.hh"
#include "core/time/clock.hh"
#include "hooks.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"

u8_t oblako_loopback_queued;

namespace oblako::net {

sched::mutex stack_lock;

unsigned deliveries;

namespace {

// Packets between sockets of this VM. Each round may cause the next; a storm is cut into batches.
bool run_loopback() {
  if (!oblako_loopback_queued)
    return false;
  for (unsigned round = 0; round < 32 && oblako_loopback_queued; ++round) {
    oblako_loopback_queued = 0;
    netif_poll_all();
  }
  return true;
}

} // namespace

void leave_with_work() {
  run_loopback();
  leave_stack();
}

namespace engine {

bool run() {
  const uint64_t now = time::monotonic_ns();
  update_tcp_clock(now);
  tcp_clock_stale = false;
  if (frames_queued())
    flush_devices();
  reclaim_frames();
  deliveries = 0;
  bool worked = false;
  if (receive_frames() != 0) {
    send_due_acks();
    worked = true;
  }
  worked |= run_timers(now);
  worked |= run_loopback();
  expect_writes(deliveries);
  if (frames_queued())
    flush_devices();
  return worked;
}

bool enable_interrupts() {
  if (oblako_loopback_queued || time::monotonic_ns() >= next_timer_deadline())
    return false;
  tcp_clock_stale = true; // we may sleep for long
  return enable_device_interrupts();
}

void disable_interrupts() {
  disable_device_interrupts();
}
bool transmit_pending() {
  return frames_queued();
}
void tell_devices() {
  flush_devices();
}
uint64_t next_timer() {
  const uint64_t deadline = next_timer_deadline();
  timers_changed = false;
  return deadline;
}

} // namespace engine
} // namespace oblako::net

// The network drivers there are. Called by name, so that they are linked with the stack and only
// then.
extern "C" void oblako_start_virtio_net();

extern "C" void oblako_start_net() {
  using namespace oblako::net;
  OBLAKO_NEEDS(oblako_network_files);
  OBLAKO_NEEDS(oblako_proc_net_sockets);
  OBLAKO_NEEDS(oblako_proc_net_interfaces);
  oblako_start_virtio_net();
  size_buffers();
  make_isn_key();
  make_connection_table();
  make_port_table();
  netif_init(); // the loopback interface
  udp_init();
  tcp_init();
  start_service();
  stack_guard guard;
  start_capture();
  start_interfaces();
  start_timers(oblako::time::monotonic_ns()); // which of them run depends on the interfaces
  flush_devices();
}

// The application has ended: its peers are told, and get what it wrote last, unless that takes
// long.
extern "C" void oblako_stop_net() {
  using namespace oblako;
  using namespace oblako::net;
  constexpr uint64_t patience = 200 * time::ns_per_ms;
  if (stack_lock.held_by_me()) // it ended in the middle of a call
    return;
  const uint64_t deadline = time::monotonic_ns() + patience;
  {
    stack_guard guard;
    close_connections();
    flush_devices();
  }
  while (time::monotonic_ns() < deadline) {
    poll();
    stack_guard guard;
    if (!connections_pending() && !frames_waiting())
      break;
  }
}
