#include "core/net/capture.hh"

#include "core/boot/options.hh"
#include "core/log/log.hh"
#include "core/mem/heap.hh"
#include "core/net/address_config.hh"
#include "core/time/clock.hh"
#include "lwip/ip4.h"
#include "lwip/netif.h"
#include "lwip/udp.h"

namespace oblako::net {

bool capture_on;

namespace {

struct record_header {
  uint32_t seconds, nanoseconds, captured, original;
};
static_assert(sizeof(record_header) == 16);

// What fits into an Ethernet frame with the headers of IPv4 and UDP.
constexpr uint32_t longest = 1500 - 20 - 8 - sizeof(record_header);
constexpr unsigned max_waiting = 256;

udp_pcb* sender;
capture_target target;
bool sending;
struct waiting_record {
  waiting_record* next;
  pbuf* data;
};
waiting_record *first, *last;
unsigned waiting, lost;

// A record with `bytes` bytes behind its header, to be filled in. nullptr: no memory or no room.
pbuf* begin_record(uint32_t bytes, uint32_t original) {
  if (waiting >= max_waiting) {
    ++lost;
    return nullptr;
  }
  pbuf* p = pbuf_alloc(PBUF_TRANSPORT, static_cast<u16_t>(sizeof(record_header) + bytes), PBUF_RAM);
  auto* record =
      static_cast<waiting_record*>(p ? mem::allocate_buffer(sizeof(waiting_record)) : nullptr);
  if (!record) {
    if (p)
      pbuf_free(p);
    ++lost;
    return nullptr;
  }
  const uint64_t now = time::wall_ns();
  const record_header h = {static_cast<uint32_t>(now / time::ns_per_s),
                           static_cast<uint32_t>(now % time::ns_per_s), bytes, original};
  __builtin_memcpy(p->payload, &h, sizeof h);
  *record = {nullptr, p};
  (last ? last->next : first) = record;
  last = record;
  ++waiting;
  return p;
}

uint8_t* data_of(pbuf* p) {
  return static_cast<uint8_t*>(p->payload) + sizeof(record_header);
}

// True for a datagram of the capture's own, which may have waited for ARP.
bool is_own(const pbuf* frame) {
  constexpr u16_t ethernet = 14, ip_header = 20; // lwIP sends no IPv4 options with UDP
  uint8_t head[ethernet + ip_header + 2];
  if (pbuf_copy_partial(frame, head, sizeof head, 0) != sizeof head)
    return false;
  const unsigned type = head[12] << 8 | head[13], protocol = head[ethernet + 9];
  const unsigned from = head[ethernet + ip_header] << 8 | head[ethernet + ip_header + 1];
  return type == 0x0800 && protocol == 17 && from == sender->local_port;
}

// Where to: the given address, or the gateway. False: not known yet.
bool find_target(ip_addr_t& to) {
  const netif* n = netif_default;
  if (!n || ip4_addr_isany_val(*netif_ip4_addr(n)))
    return false;
  const uint32_t address = target.address ? target.address : ip4_addr_get_u32(netif_ip4_gw(n));
  ip_addr_set_ip4_u32_val(to, address);
  return address != 0;
}

} // namespace

void start_capture() {
  const char* option = boot::option("net.capture");
  if (!option || !parse_capture_target(option, target))
    return;
  sender = udp_new_ip_type(IPADDR_TYPE_V4);
  capture_on = sender != nullptr;
  if (capture_on)
    log::info("net: capturing packets");
}

void capture_received(const received_frame& f, uint32_t bytes) {
  const uint32_t kept = min_of(bytes, longest);
  pbuf* p = begin_record(kept, bytes);
  if (!p)
    return;
  uint32_t done = min_of(f.length, kept);
  __builtin_memcpy(data_of(p), f.data, done);
  for (unsigned i = 1; i < f.segments && done < kept; ++i) {
    const uint32_t n = min_of(f.more[i - 1].length, kept - done);
    __builtin_memcpy(data_of(p) + done, f.more[i - 1].data, n);
    done += n;
  }
}

void capture_sent(const pbuf* frame) {
  if (sending || is_own(frame))
    return;
  const uint32_t kept = min_of<uint32_t>(frame->tot_len, longest);
  if (pbuf* p = begin_record(kept, frame->tot_len))
    pbuf_copy_partial(frame, data_of(p), static_cast<u16_t>(kept), 0);
}

void send_captured() {
  ip_addr_t to = {};
  if (!first || sending || !find_target(to))
    return;
  sending = true;
  while (waiting_record* r = first) {
    first = r->next;
    if (!first)
      last = nullptr;
    --waiting;
    (void)udp_sendto(sender, r->data, &to, target.port);
    pbuf_free(r->data);
    mem::release_sized(r, sizeof *r);
  }
  sending = false;
  if (lost != 0)
    log::warning("net: %u packets were not captured: too many at a time", lost);
  lost = 0;
}

} // namespace oblako::net

extern "C" const char* oblako_check_capture(const char* value) {
  oblako::net::capture_target target;
  return oblako::net::parse_capture_target(value, target)
             ? nullptr
             : "is not a port of the gateway's, or ADDRESS:PORT";
}
