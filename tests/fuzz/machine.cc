#include "tests/fuzz/machine.hh"

#include "core/boot/options.hh"
#include "core/boot/timeline.hh"
#include "core/mem/buffer_account.hh"
#include "core/net/engine.hh"
#include "core/net/interface.hh"
#include "core/net/interface_internal.hh"
#include "core/net/path_mtu.hh"
#include "core/net/port.hh"
#include "core/net/service.hh"
#include "core/net/stack.hh"
#include "core/posix/fd_table.hh"
#include "core/random/random.hh"
#include "tests/fuzz/packets.hh"
#include "tests/fuzz/steps.hh"
#include "tests/unit/fake_kernel.hh"

#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/memp.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include <algorithm>

using namespace oblako;

extern "C" void oblako_start_net();

// --- what core/net needs of the kernel beyond fake_kernel.hh

namespace fuzz {
wire devices[2] = {wire(1), wire(2)};
}

namespace {

constexpr uint64_t first_random = 88172645463325252;
uint64_t random_state = first_random;
unsigned random_fills;

constexpr uint16_t pool_sizes[] = {
#define LWIP_MEMPOOL(name, num, size, desc) LWIP_MEM_ALIGN_SIZE(size),
#include "lwip/priv/memp_std.h"
};

} // namespace

namespace oblako::net {
bool watched = true;
void device_interrupt(void*) {}
void expect_writes(unsigned) {}
void start_service() {}
void leave_stack() {
  if (frames_queued())
    flush_devices();
}
} // namespace oblako::net

namespace oblako::log {
void info(const char*, ...) {}
void warning(const char*, ...) {}
size_t format(char* buffer, size_t size, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int n = vsnprintf(buffer, size, format, arguments);
  va_end(arguments);
  return static_cast<size_t>(n);
}
} // namespace oblako::log

void oblako::posix::open_standard_files() {}

namespace oblako::boot {
uint64_t stage_ticks[stage_count];
void first_listen() {}
void first_answer() {}
} // namespace oblako::boot

const char* oblako::boot::host_name() {
  return default_host_name;
}
void oblako::boot::refuse_option(const char* name, const char* value, const char* what) {
  log::panic("the option %s=%s: %s", name, value, what);
}
oblako::boot::named_option oblako::boot::interface_option_beyond(unsigned) {
  return {};
}
const char* oblako::boot::option(const char* name) {
  constexpr const char* options[][2] = {
      {"ip", "10.0.0.2/24"}, {"gw", "10.0.0.1"}, {"ip6", "fd00::2/64"}};
  for (const auto& o : options)
    if (strcmp(name, o[0]) == 0)
      return o[1];
  return nullptr;
}

void oblako::random::fill(void* to, size_t count) {
  ++random_fills;
  for (size_t i = 0; i < count; ++i) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(random_state);
  }
}

extern "C" {
void oblako_start_virtio_net() {
  for (fuzz::wire& w : fuzz::devices)
    (void)net::attach(w);
}
void* memp_malloc(memp_t type) {
  return mem::allocate_buffer(pool_sizes[type]);
}
void memp_free(memp_t, void* memory) {
  mem::release(memory);
}
void* oblako_pbuf_allocate(size_t count) {
  return mem::allocate_buffer(count);
}
void oblako_pbuf_release(pbuf* p) {
  mem::release(p);
}
}

// --- from one input to the next

namespace fuzz {
namespace {

// Small, so that an input can use it up.
constexpr size_t memory = 32_MiB;

struct holding {
  size_t pieces = 0, bytes = 0;
};
holding at_rest;

// The next random words do not depend on the inputs before: the batch that core/net/port.cc keeps
// is used up, to its end.
void begin_random_numbers() {
  constexpr unsigned batch = 16;
  for (const unsigned before = random_fills; random_fills == before;)
    (void)net::random_word();
  for (unsigned i = 1; i < batch; ++i)
    (void)net::random_word();
  random_state = first_random;
}

// The other side asks for our link address, and tells its own (RFC 4861, 4.3).
void solicit(ip6_way way) {
  bytes m = {135, 0, 0, 0, 0, 0, 0, 0};
  append(m, bytes(way.to, way.to + 16));
  append(m, {1, 1, 2, 0, 0, 0, 0, 99});
  set16(m, 2, checksum6(way, 58, m));
  devices[0].deliver(ethernet(1, 0x86dd, ipv6(58, m, way, 255)), net::checksum_state::none);
}

// What routers and neighbours said is forgotten.
void forget_neighbours() {
  net::stack_guard guard;
  for (netif* n = netif_list; n; n = n->next) {
    if (!net::is_ours(n))
      continue;
    etharp_cleanup_netif(n);
    nd6_cleanup_netif(n);
    for (s8_t k = 1; k < LWIP_IPV6_NUM_ADDRESSES; ++k)
      if (memcmp(netif_ip6_addr(n, k)->addr, global_our_ip6, 16) != 0)
        netif_ip6_addr_set_state(n, k, IP6_ADDR_INVALID);
  }
  nd6_clear_destination_cache();
}

void let_time_pass() {
  // TIME_WAIT and half-open connections end, and what paths take is forgotten.
  for (int i = 0; i < 25; ++i) {
    test::clock_ns += 30 * time::ns_per_s;
    run_stack();
  }
  net::stack_guard guard;
  for (int i = 0; i < 70; ++i) { // the longest reassembly is 60 seconds
    ip_reass_tmr();
    ip6_reass_tmr();
    etharp_tmr();
    nd6_tmr();
  }
}

void come_to_rest() {
  allocate_again();
  devices[0].fill_ring_for(0);
  {
    net::stack_guard guard;
    while (tcp_active_pcbs)
      tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs)
      tcp_abort(tcp_tw_pcbs);
  }
  run_stack();
  for (wire& w : devices)
    w.drain();
  let_time_pass();
  forget_neighbours();
  for (wire& w : devices)
    w.drain();
}

void start() {
  test::frame_limit = memory / page_size;
  mem::frame_counts = {test::frame_limit, test::frame_limit, 16};
  mem::buffers.set_memory(test::frame_limit);
  oblako_start_net();
  // IPv6 addresses become usable when nobody objects.
  for (int i = 0; i < 10; ++i) {
    test::clock_ns += time::ns_per_s;
    run_stack();
  }
  {
    net::stack_guard guard; // the table of paths is made with the first
    net::narrow_path(*IP4_ADDR_ANY, 1400);
  }
  memcpy(devices[0].our_ip6, netif_ip6_addr(interface_of(devices[0]), 0)->addr, 16);
  greet();
  come_to_rest();
}

[[noreturn]] void report_leak() {
  fprintf(stderr, "leak: %zu pieces of memory are held, %zu at the start\n", test::live.size(),
          at_rest.pieces);
  for (const auto& [where, size] : test::live)
    fprintf(stderr, "  %zu bytes at %p\n", size, where);
  abort();
}

} // namespace

ip6_way way_of(uint8_t protocol) {
  if (protocol == 6)
    return {global_peer_ip6, global_our_ip6};
  return {peer_ip6, devices[0].our_ip6};
}

void deliver_ip(bool v6, uint8_t protocol, const bytes& payload, net::checksum_state checksum,
                size_t piece) {
  devices[0].deliver(v6 ? ethernet(1, 0x86dd, ipv6(protocol, payload, way_of(protocol), 255))
                        : ethernet(1, 0x0800, ipv4(protocol, payload)),
                     checksum, piece);
}

netif* interface_of(const wire& w) {
  for (netif* n = netif_list; n; n = n->next)
    if (net::is_ours(n) && net::interface_of(n).dev == &w)
      return n;
  abort();
}

void greet() {
  bytes arp = {0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 99, 10, 0, 0, 1};
  append(arp, {0, 0, 0, 0, 0, 0, 10, 0, 0, 2});
  devices[0].deliver(ethernet(1, 0x0806, arp), net::checksum_state::none);
  run_stack();
  for (const ip6_way way : {way_of(58), way_of(6)}) {
    solicit(way);
    run_stack();
  }
}

void begin() {
  static const bool started = (start(), true);
  (void)started;
  reset_steps();
  begin_random_numbers();
  {
    net::stack_guard guard;
    dhcp_start(interface_of(devices[1]));
  }
  greet();
}

void settle() {
  come_to_rest();
  if (at_rest.pieces == 0)
    at_rest = {test::live.size(), test::live_bytes};
  if (test::live.size() != at_rest.pieces)
    report_leak();
}

void run_stack() {
  net::stack_guard guard;
  for (int i = 0; i < 4; ++i) {
    bounded_call call("the stack", devices[0].waiting_bytes() + devices[1].waiting_bytes(),
                      held_pieces());
    if (!net::engine::run())
      break;
  }
}

void pass(unsigned milliseconds) {
  const unsigned steps = std::min(milliseconds / 50 + 1, 64u);
  for (unsigned i = 0; i < steps; ++i) {
    test::clock_ns += milliseconds * time::ns_per_ms / steps;
    run_stack();
  }
}

void fail_allocations(size_t after, failing which) {
  (which == failing::all ? test::allocations_left : test::failing_allocation) = after;
}
void allocate_again() {
  test::allocations_left = test::failing_allocation = ~size_t{0};
}

size_t held_bytes() {
  return test::live_bytes - std::min(at_rest.bytes, test::live_bytes);
}
size_t held_pieces() {
  return test::live.size() - std::min(at_rest.pieces, test::live.size());
}
void check_memory() {
  // What a call that began below the limit may add to it, and what is not counted: tables of
  // neighbours, name servers and the like.
  constexpr size_t of_a_call = 1_MiB, not_counted = 1_MiB;
  if (mem::buffers.held() <= mem::buffers.limit() + of_a_call &&
      held_bytes() <= mem::buffers.held() + not_counted)
    return;
  fprintf(stderr, "memory: %zu bytes are held in %zu pieces, %zu of them are counted, of %zu\n",
          held_bytes(), held_pieces(), static_cast<size_t>(mem::buffers.held()), memory);
  std::map<size_t, size_t> uncounted; // by size
  for (const auto& [where, size] : test::live)
    if (!test::charged.count(where))
      ++uncounted[size];
  for (const auto& [size, count] : uncounted)
    fprintf(stderr, "  %zu pieces of %zu bytes are not counted\n", count, size);
  abort();
}

} // namespace fuzz
