// Whatever arrives: a script of frames, time that passes and things the application does, read
// from the fuzzer's bytes, against the stack with a listener, a datagram socket and connections. A
// finding is what ASan or UBSan says, a panic, a frame the device could not send, or memory that is
// still held when everything is closed.
//
//   build/fuzz/fuzz_receive build/fuzz/corpus tests/fuzz/seeds -max_len=1024 -max_total_time=3600
#include "core/boot/options.hh"
#include "core/boot/timeline.hh"
#include "core/net/address_config.hh"
#include "core/net/engine.hh"
#include "core/net/interface.hh"
#include "core/net/interface_internal.hh"
#include "core/net/path_mtu.hh"
#include "core/net/service.hh"
#include "core/net/stack.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/udp_socket.hh"
#include "core/random/random.hh"
#include "tests/fuzz/packets.hh"
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
#include <fcntl.h>
#include <netinet/in.h>

using namespace oblako;
using namespace fuzz;

extern "C" void oblako_start_net();

// --- what core/net needs of the kernel beyond fake_kernel.hh

namespace {

fuzz::wire devices[] = {fuzz::wire(1), fuzz::wire(2)}; // the second one asks DHCP
uint64_t random_state = 88172645463325252;

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

namespace oblako::boot {
uint64_t stage_ticks[stage_count];
void first_listen() {}
void first_answer() {}
} // namespace oblako::boot

const char* oblako::boot::option(const char* name) {
  constexpr const char* options[][2] = {
      {"ip", "10.0.0.2/24"}, {"gw", "10.0.0.1"}, {"ip6", "fd00::2/64"}};
  for (const auto& o : options)
    if (strcmp(name, o[0]) == 0)
      return o[1];
  return nullptr;
}

void oblako::random::fill(void* to, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(random_state);
  }
}

extern "C" {
void oblako_start_virtio_net() {
  for (fuzz::wire& w : devices)
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

namespace {

// --- the fuzzer's bytes

class script {
public:
  script(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool ended() const { return at_ == end_; }
  uint8_t byte() { return ended() ? uint8_t{0} : *at_++; }
  uint16_t word() {
    const uint8_t high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  bytes some(size_t count) {
    count = std::min(count, static_cast<size_t>(end_ - at_));
    bytes b(at_, at_ + count);
    at_ += count;
    return b;
  }

private:
  const uint8_t *at_, *end_;
};

// --- delivering

fuzz::ip6_way way_of(uint8_t protocol) {
  if (protocol == 6)
    return {fuzz::global_peer_ip6, fuzz::global_our_ip6};
  return {fuzz::peer_ip6, devices[0].our_ip6};
}

void deliver_ip(bool v6, uint8_t protocol, const bytes& payload, net::checksum_state checksum,
                size_t piece = 0) {
  devices[0].deliver(v6 ? ethernet(1, 0x86dd, ipv6(protocol, payload, way_of(protocol), 255))
                        : ethernet(1, 0x0800, ipv4(protocol, payload)),
                     checksum, piece);
}

// --- the application

struct application {
  mem::ref<net::tcp_socket> listener;
  mem::ref<net::udp_socket> datagrams;
  std::vector<mem::ref<net::socket>> streams;
};
application app;

net::socket_address address_of(uint32_t ip, uint16_t port) {
  net::socket_address a;
  auto* in = reinterpret_cast<sockaddr_in*>(&a.storage);
  in->sin_family = AF_INET;
  in->sin_port = htons(port);
  in->sin_addr.s_addr = ip;
  a.length = sizeof *in;
  return a;
}

void open_sockets() {
  auto listener = net::tcp_socket::make(AF_INET6, O_NONBLOCK);
  net::socket_address any;
  any.storage.ss_family = AF_INET6;
  reinterpret_cast<sockaddr_in6*>(&any.storage)->sin6_port = htons(fuzz::listening_port);
  any.length = sizeof(sockaddr_in6);
  app.listener = listener.take();
  if (!app.listener->bind(any).ok() || !app.listener->listen(8).ok())
    abort();
  auto datagrams = net::udp_socket::make(AF_INET, O_NONBLOCK);
  app.datagrams = datagrams.take();
  if (!app.datagrams->bind(address_of(0, fuzz::udp_port)).ok())
    abort();
}

void close_sockets() {
  for (auto& s : app.streams)
    s->closed();
  app.streams.clear();
  app.listener->closed();
  app.listener = {};
  app.datagrams->closed();
  app.datagrams = {};
}

void run_stack() {
  net::stack_guard guard;
  for (int i = 0; i < 4 && net::engine::run(); ++i) {
  }
}

void receive_on(net::socket& s, size_t count, int flags) {
  bytes buffer(count);
  auto to = mem::io_buffers::kernel(buffer.data(), buffer.size());
  net::socket_address from;
  net::socket::message m{to, flags | MSG_DONTWAIT, &from};
  (void)s.receive(m);
}

void send_on(net::socket& s, size_t count, int flags) {
  bytes buffer = pattern(count);
  auto from = mem::io_buffers::kernel(buffer.data(), buffer.size());
  net::socket::message m{from, flags | MSG_DONTWAIT | MSG_NOSIGNAL};
  (void)s.send(m);
}

void act(script& in) {
  const uint8_t what = in.byte() % 10, which = in.byte();
  const size_t count = in.word();
  if (what == 0) {
    net::socket_address peer;
    if (auto accepted = app.listener->accept(peer, O_NONBLOCK); accepted.ok())
      app.streams.push_back(accepted.take());
    return;
  }
  if (what == 1) {
    auto made = net::tcp_socket::make(AF_INET, O_NONBLOCK);
    if (made.ok()) {
      (void)(*made)->connect(address_of(fuzz::peer_ip, which));
      app.streams.push_back(made.take());
    }
    return;
  }
  if (what == 2)
    return receive_on(*app.datagrams, count, 0);
  if (app.streams.empty())
    return;
  auto& s = app.streams[which % app.streams.size()];
  const int on = count & 1;
  switch (what) {
  case 3:
    return receive_on(*s, count, 0);
  case 4:
    return receive_on(*s, count, MSG_PEEK);
  case 5:
    return send_on(*s, count, 0);
  case 6:
    return send_on(*s, count, MSG_MORE);
  case 7:
    return (void)s->shutdown(static_cast<int>(count % 3));
  case 8:
    return (void)s->set_option(IPPROTO_TCP, static_cast<int>(count % 20), &on, sizeof on);
  case 9:
    s->closed();
    app.streams.erase(app.streams.begin() + which % static_cast<ptrdiff_t>(app.streams.size()));
  }
}

// --- the script's words

fuzz::connection* chosen(script& in) {
  auto& all = devices[0].connections;
  const uint8_t which = in.byte();
  return all.empty() ? nullptr : &all[which % all.size()];
}

void open_connection(script& in, bool complete) {
  fuzz::connection c{(in.byte() & 1) != 0, fuzz::listening_port,
                     static_cast<uint16_t>(1000 + in.byte())};
  const bytes options = in.some(in.byte() % 41);
  constexpr uint32_t first = 0xfffffff0; // about to wrap
  deliver_ip(c.ipv6, 6, tcp_segment(c, 2, first, 0, 0xffff, options, {}),
             net::checksum_state::verified);
  run_stack();
  if (!complete)
    return;
  for (const fuzz::connection& seen : devices[0].connections)
    if (seen.peer_port == c.peer_port && seen.ipv6 == c.ipv6)
      c = seen;
  deliver_ip(c.ipv6, 6, tcp_segment(c, 0x10, first + 1, c.sent, 0xffff, {}, {}),
             net::checksum_state::verified);
  run_stack();
  net::socket_address peer;
  if (auto accepted = app.listener->accept(peer, O_NONBLOCK); accepted.ok())
    app.streams.push_back(accepted.take());
}

void segment(script& in) {
  const fuzz::connection* c = chosen(in);
  const uint8_t flags = in.byte();
  const auto before = static_cast<int16_t>(in.word()), after = static_cast<int16_t>(in.word());
  const uint16_t window = in.word(), length = in.word();
  const uint8_t shape = in.byte();
  const bytes options = in.some(shape & 0x1f);
  if (!c)
    return;
  // Offsets of a few bytes, or of some windows.
  const int scale = shape & 0x20 ? 100 : 1;
  deliver_ip(c->ipv6, 6,
             tcp_segment(*c, flags, c->acknowledged + static_cast<uint32_t>(before * scale),
                         c->sent + static_cast<uint32_t>(after * scale), window, options,
                         pattern(length % (shape & 0x40 ? 60'000 : 1500))),
             net::checksum_state::verified, shape & 0x80 ? 4000 : 0);
}

void icmp_about(script& in) {
  const fuzz::connection* c = chosen(in);
  const uint8_t type = in.byte(), code = in.byte();
  const uint16_t mtu = in.word();
  const auto offset = static_cast<int16_t>(in.word());
  if (!c)
    return;
  bytes quoted, message = {type, code, 0, 0, 0, 0};
  put16(quoted, c->our_port);
  put16(quoted, c->peer_port);
  put32(quoted, c->sent + static_cast<uint32_t>(offset));
  quoted.resize(20);
  put16(message, mtu);
  bytes packet = c->ipv6 ? ipv6(6, quoted, way_of(6)) : ipv4(6, quoted);
  const size_t addresses = c->ipv6 ? 8 : 12, width = c->ipv6 ? 16 : 4;
  std::swap_ranges(packet.begin() + static_cast<ptrdiff_t>(addresses),
                   packet.begin() + static_cast<ptrdiff_t>(addresses + width),
                   packet.begin() + static_cast<ptrdiff_t>(addresses + width));
  append(message, packet);
  deliver_ip(c->ipv6, c->ipv6 ? 58 : 1, message, net::checksum_state::verified);
}

// With a checksum that is right, for what is verified in software.
void with_checksum(bool v6, uint8_t protocol, bytes message, size_t field) {
  if (message.size() < field + 2)
    return;
  set16(message, field, 0);
  uint32_t sum = 0;
  const fuzz::ip6_way way = way_of(protocol);
  if (v6)
    sum =
        sum_of(way.from, 16, sum_of(way.to, 16)) + static_cast<uint32_t>(message.size()) + protocol;
  set16(message, field, checksum_of(sum_of(message.data(), message.size(), sum)));
  deliver_ip(v6, protocol, message, net::checksum_state::none);
}

void dhcp_reply(script& in) {
  bytes m = {2, 1, 6, 0};
  const uint32_t transaction = __builtin_bswap32(devices[1].dhcp_transaction);
  put32(m, in.byte() & 1 ? transaction + 1 : transaction);
  m.resize(12);
  put32(m, 0);
  put32(m, 0x0a000107);
  put32(m, 0x0a000101);
  m.resize(28);
  append(m, {2, 0, 0, 0, 0, 2});
  m.resize(236);
  const uint8_t kind = in.byte();
  append(m, {0x63, 0x82, 0x53, 0x63, 53, 1, kind});
  append(m, in.some(in.byte()));
  bytes u;
  put16(u, 67);
  put16(u, 68);
  put16(u, 8 + m.size());
  put16(u, 0);
  append(u, m);
  devices[1].deliver(ethernet(2, 0x0800, ipv4(17, u, 0, 1, 0xffffffff)),
                     net::checksum_state::verified);
}

// In steps, as timers are called.
void pass(unsigned milliseconds) {
  const unsigned steps = std::min(milliseconds / 50 + 1, 64u);
  for (unsigned i = 0; i < steps; ++i) {
    test::clock_ns += milliseconds * time::ns_per_ms / steps;
    run_stack();
  }
}

void one_word(script& in) {
  const uint8_t what = in.byte() % 16;
  switch (what) {
  case 0: {
    const uint8_t how = in.byte();
    const bytes frame = in.some(in.word() % 2048);
    devices[how & 1].deliver(frame, static_cast<net::checksum_state>(how / 2 % 3),
                             how & 0x80 ? 40 + how % 64 : 0);
    break;
  }
  case 1: {
    const uint8_t protocol = in.byte();
    const uint16_t fragment = in.word();
    devices[0].deliver(ethernet(1, 0x0800, ipv4(protocol, in.some(in.byte()), fragment)),
                       net::checksum_state::none);
    break;
  }
  case 2:
  case 3:
    segment(in);
    break;
  case 4:
    pass(in.word());
    break;
  case 5:
    act(in);
    break;
  case 6: {
    const uint8_t next = in.byte();
    deliver_ip(true, next, in.some(in.byte()), net::checksum_state::verified);
    break;
  }
  case 7:
    devices[0].deliver(ethernet(1, 0x0806, in.some(28)), net::checksum_state::none);
    break;
  case 8:
    icmp_about(in);
    break;
  case 9: {
    bytes u;
    put16(u, in.word());
    put16(u, fuzz::udp_port);
    const size_t length = in.word() % 3000, lie = in.byte();
    put16(u, 8 + length + lie % 3 - 1);
    put16(u, 0);
    append(u, pattern(length));
    deliver_ip(false, 17, u, net::checksum_state::verified, lie & 0x80 ? 1000 : 0);
    break;
  }
  case 10: {
    const uint8_t id = in.byte(), protocol = in.byte() & 1 ? 17 : 1;
    const uint16_t fragment = in.word() & 0x3fff;
    devices[0].deliver(ethernet(1, 0x0800, ipv4(protocol, pattern(in.word() % 1480), fragment, id)),
                       net::checksum_state::none);
    break;
  }
  case 11: {
    const uint8_t n = in.byte();
    if (n & 0x80)
      test::allocations_left = n & 0x7f;
    else
      devices[0].fill_ring_for(n);
    break;
  }
  case 12:
    open_connection(in, true);
    break;
  case 13: {
    const bool v6 = in.byte() & 1;
    with_checksum(v6, v6 ? 58 : 1, in.some(in.byte()), 2);
    break;
  }
  case 14:
    dhcp_reply(in);
    break;
  case 15: {
    const uint8_t next = in.byte();
    const uint16_t fragment = in.word();
    bytes f = {next, 0};
    put16(f, fragment);
    put32(f, in.byte() & 3);
    append(f, pattern(in.word() % 1400));
    deliver_ip(true, 44, f, net::checksum_state::none);
    break;
  }
  }
  run_stack();
  if (what != 11)
    test::allocations_left = ~size_t{0};
}

// --- from one run to the next

// As after a long time without a word from anybody.
void settle() {
  test::allocations_left = ~size_t{0};
  devices[0].fill_ring_for(0);
  close_sockets();
  {
    net::stack_guard guard;
    while (tcp_active_pcbs)
      tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs)
      tcp_abort(tcp_tw_pcbs);
  }
  run_stack();
  for (fuzz::wire& w : devices)
    w.drain();
  for (int i = 0; i < 20; ++i) { // TIME_WAIT and half-open connections end
    test::clock_ns += 10 * time::ns_per_s;
    run_stack();
  }
  for (int i = 0; i < 2; ++i) { // and nothing is known of paths any more
    test::clock_ns += 600 * time::ns_per_s;
    run_stack();
  }
  net::stack_guard guard;
  for (int i = 0; i < 70; ++i) { // the longest reassembly is 60 seconds
    ip_reass_tmr();
    ip6_reass_tmr();
    etharp_tmr();
    nd6_tmr();
  }
  for (netif* n = netif_list; n; n = n->next) {
    if (!net::is_ours(n))
      continue;
    etharp_cleanup_netif(n);
    nd6_cleanup_netif(n);
    for (s8_t k = 1; k < LWIP_IPV6_NUM_ADDRESSES; ++k)
      if (memcmp(netif_ip6_addr(n, k)->addr, global_our_ip6, 16) != 0)
        netif_ip6_addr_set_state(n, k, IP6_ADDR_INVALID);
  }
  for (fuzz::wire& w : devices)
    w.drain();
}

// The other side asks for our link address, and tells its own (RFC 4861, 4.3).
void solicit(ip6_way way) {
  bytes m = {135, 0, 0, 0, 0, 0, 0, 0};
  append(m, bytes(way.to, way.to + 16));
  append(m, {1, 1, 2, 0, 0, 0, 0, 99});
  set16(m, 2,
        checksum_of(sum_of(m.data(), m.size(), sum_of(way.from, 16, sum_of(way.to, 16))) +
                    static_cast<uint32_t>(m.size()) + 58));
  devices[0].deliver(ethernet(1, 0x86dd, ipv6(58, m, way, 255)), net::checksum_state::none);
}

void begin() {
  open_sockets();
  net::stack_guard guard;
  // Both sides know each other, so that answers leave.
  for (netif* n = netif_list; n; n = n->next)
    if (net::is_ours(n) && net::interface_of(n).dev == &devices[1])
      dhcp_start(n);
  bytes arp = {0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 99, 10, 0, 0, 1};
  append(arp, {0, 0, 0, 0, 0, 0, 10, 0, 0, 2});
  devices[0].deliver(ethernet(1, 0x0806, arp), net::checksum_state::none);
  net::engine::run();
  for (const ip6_way way : {way_of(58), way_of(6)}) {
    solicit(way);
    net::engine::run();
  }
}

void start() {
  oblako_start_net();
  // IPv6 addresses become usable when nobody objects.
  for (int i = 0; i < 10; ++i) {
    test::clock_ns += time::ns_per_s;
    run_stack();
  }
  netif* n = netif_list;
  while (!net::is_ours(n) || net::interface_of(n).dev != &devices[0])
    n = n->next;
  memcpy(devices[0].our_ip6, netif_ip6_addr(n, 0)->addr, 16);
  {
    net::stack_guard guard; // the table of paths is made with the first
    net::narrow_path(*IP4_ADDR_ANY, 1400);
  }
  begin();
  settle();
}

// Pieces of memory in use. Tables are made when they are first needed, and stay.
size_t held() {
  constexpr size_t a_table = 128 * 1024;
  return static_cast<size_t>(std::count_if(test::live.begin(), test::live.end(),
                                           [](const auto& p) { return p.second < a_table; }));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool started = (start(), true);
  (void)started;
  static const size_t held_at_rest = held();
  begin();
  script in(data, size);
  while (!in.ended())
    one_word(in);
  settle();
  if (held() != held_at_rest) {
    fprintf(stderr, "leak: %zu pieces of memory are held, %zu at the start\n", held(),
            held_at_rest);
    for (const auto& [memory, size] : test::live)
      fprintf(stderr, "  %zu bytes at %p\n", size, memory);
    abort();
  }
  return 0;
}
