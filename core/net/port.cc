// What lwIP needs from its host: memory, time, random numbers, a failed assertion's end, and the
// initial sequence numbers. Everything runs under the stack's lock (core/net/stack.hh).
#include "core/net/port.hh"

#include "core/base/types.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/net/siphash.hh"
#include "core/random/random.hh"
#include "core/time/clock.hh"
#include "hooks.h"
#include "lwip/sys.h"

uint32_t oblako_tcp_window;
uint32_t oblako_tcp_send_buffer;

namespace oblako::net {

buffer_sizes tcp_buffers;

namespace {

// Random words come out of the generator in batches: lwIP asks for them one at a time.
struct random_batch {
  uint32_t words[16];
  unsigned left;
};
random_batch batch;

siphash_key isn_key;

uint64_t random_long() {
  return uint64_t{random_word()} << 32 | random_word();
}

} // namespace

// Drawn at start, from the first batch.
void make_isn_key() {
  isn_key = {random_long(), random_long()};
}

uint32_t random_word() {
  if (batch.left == 0) {
    random::fill(batch.words, sizeof batch.words);
    batch.left = sizeof batch.words / sizeof batch.words[0];
  }
  return batch.words[--batch.left];
}

void size_buffers() {
  const auto share = [](uint64_t part, uint64_t most) {
    return static_cast<uint32_t>(
        min_of(max_of<uint64_t>(mem::frame_usage().total_bytes / part, 64_KiB), most));
  };
  tcp_buffers = {share(256, 256_KiB), share(64, 4_MiB)};
  oblako_tcp_window = tcp_buffers.base;
  oblako_tcp_send_buffer = tcp_buffers.largest;
}

} // namespace oblako::net

using namespace oblako;

extern "C" {

u32_t sys_now(void) {
  return static_cast<u32_t>(time::monotonic_ns() / time::ns_per_ms);
}

uint32_t oblako_lwip_random(void) {
  return net::random_word();
}

void* oblako_lwip_allocate(size_t bytes) {
  return mem::allocate_buffer(bytes);
}

void* oblako_lwip_allocate_zeroed(size_t count, size_t bytes) {
  return mem::allocate_buffer_zeroed(count * bytes);
}

void oblako_lwip_release(void* memory) {
  mem::release(memory);
}

void oblako_lwip_assert(const char* message, const char* file, int line) {
  log::panic("lwIP: %s (%s:%d)", message, file, line);
}

u32_t oblako_tcp_isn(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                     u16_t remote_port) {
  struct {
    uint8_t local[16], remote[16];
    uint16_t ports[2];
    uint32_t padding;
  } connection = {};
  const size_t length = IP_IS_V6(local_ip) ? 16 : 4;
  __builtin_memcpy(connection.local, local_ip, length);
  __builtin_memcpy(connection.remote, remote_ip, length);
  connection.ports[0] = local_port;
  connection.ports[1] = remote_port;
  const uint64_t hash = net::siphash_2_4(net::isn_key, &connection, sizeof connection);
  // RFC 6528: the clock ticks every 4 microseconds.
  return static_cast<u32_t>(hash) + static_cast<u32_t>(time::monotonic_ns() / 4000);
}

} // extern "C"
