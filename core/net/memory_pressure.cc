#include "core/net/memory_pressure.hh"

#include "core/log/log.hh"
#include "core/mem/buffer_account.hh"
#include "core/net/backlog.hh"
#include "core/net/interface.hh"
#include "core/net/packet_lists.hh"
#include "core/net/port.hh"
#include "core/net/stack.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/tcp_watch.hh"
#include "core/net/timers.hh"
#include "hooks.h"

namespace oblako::net {
namespace {

// New connections are refused from this degree of shortage on.
constexpr unsigned refuse_from = mem::buffer_account::most_short - 1;
// But for these.
constexpr unsigned first_few = 16;
constexpr uint32_t patience_ms[] = {0, 30'000, 10'000, 4'000, 2'000, 1'000, 500};
static_assert(sizeof patience_ms / sizeof patience_ms[0] == mem::buffer_account::most_short + 1);
constexpr uint64_t sweep_period = 100 * time::ns_per_ms;
// What one part of the sweep looks at.
constexpr unsigned most_connections = 2048, most_buckets = 4096;
constexpr uint64_t log_period = 10 * time::ns_per_s;
// What an application's page fault is given at a time.
constexpr uint64_t pages_reclaimed = 32;

uint64_t due = time::no_deadline;
size_t next_bucket;
uint64_t logged_at;
unsigned resets; // since then

void log_resets(uint64_t now) {
  if (resets == 0 || (logged_at != 0 && now - logged_at < log_period))
    return;
  log::info("net: memory is short (buffers hold %lu kB, %lu kB are free): %u connections without "
            "progress were reset",
            static_cast<unsigned long>(mem::buffers.held() / 1024),
            static_cast<unsigned long>(mem::frame_usage().free_bytes / 1024), resets);
  logged_at = now;
  resets = 0;
}

} // namespace

// Sees what this connection has moved since it was last looked at.
bool tcp_socket::without_progress(uint32_t ms) {
  const bool sends = pcb_->unsent || pcb_->unacked;
  if (!sends && received_bytes_ < TCP_MSS) {
    seen_since_ = tcp_ticks;
    return false;
  }
  const uint32_t position = sends ? pcb_->lastack : pcb_->rcv_nxt - received_bytes_;
  const uint32_t moved = position - seen_;
  if (seen_since_ == 0 || moved >= TCP_MSS) {
    seen_ = position;
    seen_since_ = tcp_ticks;
    return false;
  }
  // Whoever does not read does so in the application, which may be busy.
  return tcp_ticks - seen_since_ >= (sends ? ms : 4 * ms);
}

namespace {

void sweep_bucket(size_t n, uint32_t ms) {
  for (tcp_pcb *c = connections.buckets[n], *next; c; c = next) {
    next = c->hash_next;
    if (c->state < ESTABLISHED || !c->callback_arg)
      continue;
    if (!static_cast<tcp_socket*>(c->callback_arg)->without_progress(ms))
      continue;
    tcp_abort(c);
    ++resets;
  }
}

// From where the last part ended.
void sweep(uint32_t ms) {
  const size_t count = connections.bucket_count();
  const unsigned parts = 1 + connections.count / most_connections;
  const size_t buckets = min_of<size_t>(most_buckets, (count + parts - 1) / parts);
  for (size_t k = 0; k < buckets; ++k)
    sweep_bucket(next_bucket++ & (count - 1), ms);
}

void let_more_in() {
  for (tcp_pcb_listen* l = tcp_listen_pcbs.listen_pcbs; l; l = l->next)
    note_room(*l);
}

} // namespace

bool may_connect() {
  return mem::buffers.shortage() < refuse_from || connections.count < first_few;
}

bool patience(uint32_t& ms) {
  const unsigned shortage = mem::buffers.shortage();
  ms = patience_ms[shortage];
  return shortage != 0;
}

void look_at_memory(uint64_t now) {
  if (due == time::no_deadline && mem::buffers.is_short())
    due = now;
}

bool run_memory_pressure(uint64_t now) {
  if (now < due)
    return false;
  uint32_t ms;
  const bool is_short = patience(ms);
  if (is_short) {
    resets += reset_orphans(ms);
    sweep(ms);
  } else {
    // What they keep is spread over pages that were filled meanwhile.
    drop_packet_lists();
  }
  log_resets(now);
  if (may_connect())
    let_more_in();
  // Without connections there is nothing to sweep; look_at_memory() begins again.
  due = is_short && connections.count != 0 ? now + sweep_period : time::no_deadline;
  timers_changed = true;
  return true;
}

uint64_t next_memory_pressure() {
  return due;
}

// --- for the application's page faults

namespace {

bool enough_frames() {
  return mem::frame_counts.free > mem::frame_counts.reserve + pages_reclaimed;
}

// With nothing acknowledged although it was sent again, or a window that stays shut.
bool looks_stuck(const tcp_pcb& c) {
  return c.state >= ESTABLISHED && ((c.persist_backoff != 0 && c.snd_wnd == 0) || c.nrtx != 0);
}

void reset_stuck() {
  for (size_t n = 0; n < connections.bucket_count() && !enough_frames(); ++n)
    for (tcp_pcb *c = connections.buckets[n], *next; c; c = next) {
      next = c->hash_next;
      if (!looks_stuck(*c))
        continue;
      tcp_abort(c);
      ++resets;
    }
}

// What was received out of sequence: it will be sent again.
void drop_out_of_sequence() {
  for (tcp_pcb* c = tcp_active_pcbs; c && !enough_frames(); c = c->next)
    if (c->ooseq)
      tcp_free_ooseq(c);
}

} // namespace
} // namespace oblako::net

namespace oblako::mem {

reclaimed reclaim_buffers() {
  using namespace oblako::net;
  if (stack_lock.held_by_me())
    return reclaimed::not_now;
  const uint64_t before = frame_counts.free;
  {
    stack_guard guard;
    drop_packet_lists();
    drop_spare_frames();
    if (!enough_frames())
      resets += reset_orphans(0);
    if (!enough_frames())
      drop_out_of_sequence();
    if (!enough_frames())
      reset_stuck();
    drop_packet_lists();
    log_resets(time::monotonic_ns());
  }
  return frame_counts.free > before ? reclaimed::some : reclaimed::nothing;
}

} // namespace oblako::mem

using namespace oblako;
using namespace oblako::net;

namespace {

// What the segments out of sequence take, or more than `most`.
size_t held_out_of_sequence(const tcp_pcb& c, size_t most) {
  constexpr size_t record_and_buffer = 384;
  size_t held = 0;
  for (const tcp_seg* s = c.ooseq; s && held <= most; s = s->next)
    held += s->len + record_and_buffer;
  return held;
}

} // namespace

// Those of both families may be so many each, and they wait for up to a minute: a part of memory
// that can be missed so long. One may keep a page.
extern "C" uint16_t oblako_most_fragments() {
  constexpr size_t most = 256, fewest = 8, part = 128;
  const size_t by_memory = max_of<size_t>(mem::frame_counts.total / part, fewest);
  const size_t by_share = mem::buffers.share(fewest * page_size) / page_size;
  return static_cast<uint16_t>(min_of(most, min_of(by_memory, by_share)));
}

extern "C" u8_t oblako_tcp_may_take(const tcp_pcb* c, u32_t sequence, u32_t bytes) {
  if (!c->callback_arg)
    return 1; // nobody will read it
  auto& s = *static_cast<tcp_socket*>(c->callback_arg);
  size_t wanted = bytes;
  // Pieces that leave gaps are counted with what they take beside their data. Whole segments pass
  // as long as memory is not short.
  if (sequence != c->rcv_nxt && (bytes < c->mss || mem::buffers.is_short())) {
    const size_t share = mem::buffers.share(least_share);
    wanted += held_out_of_sequence(*c, share);
  }
  if (s.may_take(wanted)) [[likely]]
    return 1;
  s.refused_data();
  return 0;
}
