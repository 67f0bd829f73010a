// Whatever arrives: a script of frames, time that passes and things the application does, read
// from the fuzzer's bytes, against the stack with a listener, datagram sockets and connections of
// both families. ICMP errors quote what the stack really sent. A finding is what ASan or UBSan
// says, a panic, a frame the device could not send, a call that takes more steps than its input
// allows, more memory held than the network may hold, memory that is still held when everything is
// closed, or a good client that is not served in the end.
#include "tests/fuzz/session.hh"
#include "tests/fuzz/words.hh"

#include <stdio.h>

using namespace oblako;
using namespace fuzz;

namespace {

connection* chosen(script& in) {
  auto& all = devices[0].connections;
  const uint8_t which = in.byte();
  return all.empty() ? nullptr : &all[which % all.size()];
}

// --- TCP

void open_connection(script& in) {
  connection c{(in.byte() & 1) != 0, listening_port, static_cast<uint16_t>(1000 + in.byte())};
  const bytes options = in.some(in.byte() % 41);
  shake_hands(c, {0xffff, options});
  app.accept();
}

uint16_t crowds_port; // the last one used

// Many clients that send something and take no more than their window, which may be none.
void crowd(script& in) {
  const uint8_t how = in.byte(), count = in.byte();
  const uint16_t window = in.word(), request = in.word();
  for (unsigned i = 0; i < count; ++i) {
    connection c{(how & 1) != 0, listening_port,
                 static_cast<uint16_t>(2000 + crowds_port++ % 4096)};
    const bool complete = !(how & 2);
    if (shake_hands(c, {window, {2, 4, 5, 0xb4}, complete}) && complete && request != 0)
      deliver_ip(
          c.ipv6, 6,
          tcp_segment(c, 0x18, clients_first + 1, c.sent, window, {}, pattern(request % 1400)),
          net::checksum_state::verified);
    run_stack();
  }
}

void segment(script& in) {
  const connection* c = chosen(in);
  const uint8_t flags = in.byte();
  const int16_t before = in.offset(), after = in.offset();
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

// --- ICMP

// With a checksum that is right.
void deliver_icmp4(bytes message) {
  set16(message, 2, checksum_of(sum_of(message.data(), message.size())));
  deliver_ip(false, 1, message, net::checksum_state::none);
}

// The neighbour is who sends it.
void deliver_icmp6(bytes message, const uint8_t* to) {
  const ip6_way way = {peer_ip6, to};
  set16(message, 2, checksum6(way, 58, message));
  devices[0].deliver(ethernet(1, 0x86dd, ipv6(58, message, way, 255)), net::checksum_state::none);
}

void deliver_icmp(bool v6, bytes message, const uint8_t* to) {
  if (message.size() < 4)
    return;
  set16(message, 2, 0);
  if (v6)
    deliver_icmp6(message, to);
  else
    deliver_icmp4(message);
}

// An error about a segment that was made up.
void icmp_about(script& in) {
  const connection* c = chosen(in);
  const uint8_t type = in.byte(), code = in.byte();
  const uint16_t mtu = in.word();
  const int16_t offset = in.offset();
  if (!c)
    return;
  bytes quoted, message = {type, code, 0, 0, 0, 0};
  put16(quoted, c->our_port);
  put16(quoted, c->peer_port);
  put32(quoted, c->sent + static_cast<uint32_t>(offset));
  quoted.resize(20);
  put16(message, mtu);
  bytes packet = c->ipv6 ? ipv6(6, quoted, way_of(6)) : ipv4(6, quoted);
  const ptrdiff_t addresses = c->ipv6 ? 8 : 12, width = c->ipv6 ? 16 : 4;
  std::swap_ranges(packet.begin() + addresses, packet.begin() + addresses + width,
                   packet.begin() + addresses + width);
  append(message, packet);
  deliver_icmp(c->ipv6, message, global_our_ip6);
}

// A redirect's body before the quoted packet: by way of the peer (RFC 4861, 4.5 and 4.6.3).
bytes redirect_of(const bytes& packet) {
  bytes m(peer_ip6, peer_ip6 + 16);
  m.insert(m.end(), packet.begin() + 24, packet.begin() + 40);
  append(m, {2, 1, 2, 0, 0, 0, 0, 99, 4, static_cast<uint8_t>((packet.size() + 8) / 8)});
  m.resize(m.size() + 6);
  return m;
}

// An error about a packet that the stack sent, of its first `length` bytes and with one changed.
void quote(script& in) {
  const size_t which = in.byte();
  const uint8_t type = in.byte(), code = in.byte();
  const uint32_t rest = in.long_word();
  const size_t length = in.byte(), at = in.byte();
  const uint8_t change = in.byte();
  const auto& frames = devices[0].sent_frames;
  if (frames.empty())
    return;
  const bytes& frame = frames[which % frames.size()];
  bytes packet(frame.begin() + 14, frame.end());
  const bool v6 = packet[0] >> 4 == 6;
  if (length & 0x80) // otherwise all that fits
    packet.resize(std::min<size_t>(packet.size(), length & 0x7f));
  packet.resize(std::min<size_t>(packet.size(), 1232));
  if (at < packet.size())
    packet[at] ^= change;
  bytes message = {type, code, 0, 0};
  put32(message, rest);
  if (v6 && type == 137 && packet.size() >= 40)
    append(message, redirect_of(packet));
  append(message, packet);
  // Only who sent the packet believes it (core/net/icmp_error.cc).
  deliver_icmp(v6, message, frame.data() + 14 + 8);
}

// --- the others

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

void datagram(script& in) {
  bytes u;
  put16(u, in.word());
  put16(u, udp_port);
  const size_t length = in.word() % 3000, lie = in.byte();
  put16(u, 8 + length + lie % 3 - 1);
  put16(u, 0);
  append(u, pattern(length));
  deliver_ip(false, 17, u, net::checksum_state::verified, lie & 0x80 ? 1000 : 0);
}

void fragment(script& in) {
  const uint8_t id = in.byte(), protocol = in.byte() & 1 ? 17 : 1;
  const uint16_t fragment = in.word() & 0x3fff;
  devices[0].deliver(ethernet(1, 0x0800, ipv4(protocol, pattern(in.word() % 1480), fragment, id)),
                     net::checksum_state::none);
}

void fragment6(script& in) {
  bytes f = {in.byte(), 0};
  put16(f, in.word());
  put32(f, in.byte() & 3);
  append(f, pattern(in.word() % 1400));
  deliver_ip(true, 44, f, net::checksum_state::none);
}

void raw_frame(script& in) {
  const uint8_t how = in.byte();
  const bytes frame = in.some(in.word() % 2048);
  devices[how & 1].deliver(frame, static_cast<net::checksum_state>(how / 2 % 3),
                           how & 0x80 ? 40 + how % 64 : 0);
}

void ipv4_packet(script& in) {
  const uint8_t protocol = in.byte();
  const uint16_t fragment = in.word();
  devices[0].deliver(ethernet(1, 0x0800, ipv4(protocol, in.some(in.byte()), fragment)),
                     net::checksum_state::none);
}

void ipv6_packet(script& in) {
  const uint8_t next = in.byte();
  deliver_ip(true, next, in.some(in.byte()), net::checksum_state::verified);
}

// --- memory

unsigned words_without_memory; // the next so many

void shortage(script& in) {
  const uint8_t n = in.byte();
  if (!(n & 0x80))
    return devices[0].fill_ring_for(n);
  fail_allocations(n & 0x7f, failing::all);
  words_without_memory = 2;
}

void fail(script& in) {
  const uint8_t how = in.byte();
  fail_allocations(in.word() % 512, how & 0x80 ? failing::all : failing::one);
  words_without_memory = 2 + how % 16;
}

void memory_comes_back() {
  if (words_without_memory != 0 && --words_without_memory == 0)
    allocate_again();
}

void do_word(word_kind kind, script& in) {
  switch (kind) {
  case word_kind::raw_frame:
    return raw_frame(in);
  case word_kind::ipv4_packet:
    return ipv4_packet(in);
  case word_kind::segment:
  case word_kind::segment_again:
    return segment(in);
  case word_kind::pass:
    return pass(in.word());
  case word_kind::act:
    return app.act(in);
  case word_kind::ipv6_packet:
    return ipv6_packet(in);
  case word_kind::arp_packet:
    return devices[0].deliver(ethernet(1, 0x0806, in.some(28)), net::checksum_state::none);
  case word_kind::icmp_about:
    return icmp_about(in);
  case word_kind::datagram:
    return datagram(in);
  case word_kind::fragment:
    return fragment(in);
  case word_kind::shortage:
    return shortage(in);
  case word_kind::open:
    return open_connection(in);
  case word_kind::with_checksum: {
    const bool v6 = in.byte() & 1;
    return deliver_icmp(v6, in.some(in.byte()), devices[0].our_ip6);
  }
  case word_kind::dhcp_reply:
    return dhcp_reply(in);
  case word_kind::fragment6:
    return fragment6(in);
  case word_kind::quote:
    return quote(in);
  case word_kind::use_datagrams: {
    const uint8_t which = in.byte(), what = in.byte() % 4;
    return app.use_datagrams(which, static_cast<application::datagram_call>(what), in.word());
  }
  case word_kind::crowd:
    return crowd(in);
  case word_kind::serve: {
    const size_t reads = in.word(), writes = in.word();
    return app.serve(reads, writes);
  }
  case word_kind::fail:
    return fail(in);
  case word_kind::connect: {
    const bool v6 = in.byte() & 1;
    return app.connect(v6, in.byte());
  }
  case word_kind::count:
    break;
  }
}

} // namespace

void fuzz::happen(script& in) {
  crowds_port = 0;
  words_without_memory = 0;
  while (!in.ended()) {
    const size_t length = word_length(in.at(), in.left());
    const uint8_t kind = in.byte() % static_cast<uint8_t>(word_kind::count);
    script word(in.at(), length - 1);
    in.skip(length - 1);
    do_word(static_cast<word_kind>(kind), word);
    run_stack();
    check_memory();
    memory_comes_back();
  }
}
