#include "tests/fuzz/fake_wire.hh"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace oblako;

namespace fuzz {
namespace {

// The stack may read so far beyond a frame's end (interface.cc copies in steps).
constexpr size_t slack = 32;
constexpr size_t front = net::received_frame::room_in_front;
constexpr size_t max_pieces = 18;

uint16_t get16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}
uint32_t get32(const uint8_t* at) {
  return uint32_t{get16(at)} << 16 | get16(at + 2);
}

// TCP cuts its segments to what the path takes; it is never cut into fragments (RFC 8201, 5.4).
void refuse_tcp_in_fragments(const bytes& frame) {
  const uint8_t* ip = frame.data() + 14;
  const uint16_t type = get16(frame.data() + 12);
  if ((type == 0x86dd && frame.size() > 54 && ip[6] == 44 && ip[40] == 6) ||
      (type == 0x0800 && ip[9] == 6 && (get16(ip + 6) & 0x3fff) != 0))
    abort();
}

} // namespace

void wire::deliver(const bytes& frame, net::checksum_state checksum, size_t piece) {
  auto* r = new received{{}, frame.size(), checksum};
  if (piece == 0 || frame.size() / piece + 1 > max_pieces)
    piece = frame.size() ? frame.size() : 1;
  size_t at = 0;
  do {
    const size_t n = std::min(piece, frame.size() - at);
    bytes b(front + n + slack, 0xee);
    std::copy_n(frame.begin() + static_cast<ptrdiff_t>(at), n,
                b.begin() + static_cast<ptrdiff_t>(front));
    r->pieces.push_back(std::move(b));
    at += n;
  } while (at < frame.size());
  waiting_bytes_ += frame.size();
  waiting_.push_back(r);
}

bool wire::receive(net::received_frame& out) {
  if (waiting_.empty())
    return false;
  received* r = waiting_.front();
  waiting_.pop_front();
  waiting_bytes_ -= r->length;
  out.cookie = r;
  out.data = r->pieces[0].data() + front;
  out.length = static_cast<uint32_t>(r->pieces[0].size() - front - slack);
  out.segments = static_cast<uint16_t>(r->pieces.size());
  out.checksum = r->checksum;
  out.held = 0;
  for (const bytes& b : r->pieces)
    out.held += static_cast<uint32_t>(b.size());
  for (size_t i = 1; i < r->pieces.size(); ++i)
    out.more[i - 1] = {r->pieces[i].data() + front,
                       static_cast<uint32_t>(r->pieces[i].size() - front - slack)};
  return true;
}

void wire::release_frame(net::received_frame& f) {
  delete static_cast<received*>(f.cookie);
}

result<void> wire::transmit(const net::segment* parts, size_t count, const net::transmit_offload& o,
                            void (*done)(void*), void* cookie) {
  if (refuse_ != 0) {
    --refuse_;
    return error::again;
  }
  bytes frame;
  for (size_t i = 0; i < count; ++i) {
    const auto* data = static_cast<const uint8_t*>(parts[i].data);
    frame.insert(frame.end(), data, data + parts[i].length); // ASan checks the whole range
  }
  // What a device may rely on (virtio 1.1, 5.1.6.2).
  if (o.needs_checksum && o.checksum_start + o.checksum_offset + 2u > frame.size())
    abort();
  if (o.gso_type != 0 && (o.gso_size == 0 || !o.needs_checksum))
    abort();
  if (o.gso_type == 0 && frame.size() > mtu() + 14u)
    abort();
  learn(frame);
  sent_.push_back({done, cookie});
  return {};
}

// The room in front is the device's to write to.
result<void> wire::transmit_whole(uint8_t* frame, uint32_t length, const net::transmit_offload& o,
                                  void (*done)(void*), void* cookie) {
  memset(frame - frame_room, 0xdd, frame_room);
  const net::segment part = {frame, length};
  return transmit(&part, 1, o, done, cookie);
}

size_t wire::reclaim_transmitted() {
  while (!sent_.empty()) {
    const sent s = sent_.front();
    sent_.pop_front();
    s.done(s.cookie);
  }
  return 256;
}

void wire::drain() {
  refuse_ = 0;
  reclaim_transmitted();
  for (received* r : waiting_)
    delete r;
  waiting_.clear();
  waiting_bytes_ = 0;
  connections.clear();
  sent_frames.clear();
}

void wire::learn(const bytes& frame) {
  if (frame.size() < 34)
    return;
  refuse_tcp_in_fragments(frame);
  constexpr size_t quotable = 1514;
  sent_frames.emplace_front(
      frame.begin(), frame.begin() + static_cast<ptrdiff_t>(std::min(frame.size(), quotable)));
  if (sent_frames.size() > most_remembered)
    sent_frames.pop_back();
  const uint8_t* ip = frame.data() + 14;
  const size_t length = frame.size() - 14;
  if (get16(frame.data() + 12) == 0x86dd && length >= 60) {
    if (ip[8] == 0xfe)
      memcpy(our_ip6, ip + 8, sizeof our_ip6);
    if (ip[6] == 6)
      learn_tcp(ip + 40, length - 40, true);
  } else if (get16(frame.data() + 12) == 0x0800) {
    const size_t header = (ip[0] & 0xf) * 4u;
    if (ip[9] == 6 && length >= header + 20)
      learn_tcp(ip + header, length - header, false);
    if (ip[9] == 17 && length >= header + 16 && get16(ip + header + 2) == 67)
      memcpy(&dhcp_transaction, ip + header + 12, sizeof dhcp_transaction);
  }
}

void wire::learn_tcp(const uint8_t* tcp, size_t length, bool ipv6) {
  const uint16_t our_port = get16(tcp), peer_port = get16(tcp + 2);
  auto c = std::find_if(connections.begin(), connections.end(), [&](const connection& k) {
    return k.ipv6 == ipv6 && k.our_port == our_port && k.peer_port == peer_port;
  });
  if (c == connections.end())
    c = connections.insert(c, {ipv6, our_port, peer_port});
  const uint8_t flags = tcp[13];
  const size_t header = (tcp[12] >> 4) * 4u;
  if (header < 20 || header > length)
    abort(); // the stack sent nonsense
  c->sent = get32(tcp + 4) + static_cast<uint32_t>(length - header) + ((flags & 2) ? 1 : 0) +
            ((flags & 1) ? 1 : 0);
  if (flags & 0x10)
    c->acknowledged = get32(tcp + 8);
}

} // namespace fuzz
