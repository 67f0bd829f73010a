// What a program asks about interfaces: netlink requests and ioctl() calls with any bytes, while
// routers and DHCP servers change what there is to tell and memory fails. Every answer has to be a
// list of messages and attributes that fit into each other.
//
// An input is a list of calls, each with its arguments.
#include "core/net/interface_query.hh"
#include "core/net/netlink.hh"
#include "tests/fuzz/session.hh"
#include "tests/fuzz/steps.hh"

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

using namespace oblako;
using namespace fuzz;

namespace {

using sockets = std::vector<mem::ref<net::socket>>;
constexpr size_t most_sockets = 4;

[[noreturn]] void broken(const char* what) {
  fprintf(stderr, "netlink: %s\n", what);
  abort();
}

// Spec: netlink(7), the attributes of one message.
void check_attributes(const uint8_t* at, size_t left) {
  while (left != 0) {
    net::spec::netlink_attribute a;
    if (left < sizeof a)
      broken("half an attribute");
    memcpy(&a, at, sizeof a);
    const size_t padded = (a.length + 3u) & ~size_t{3};
    if (a.length < sizeof a || padded > left)
      broken("an attribute does not fit into its message");
    at += padded;
    left -= padded;
  }
}

void check_answer(const bytes& answer) {
  size_t at = 0;
  while (at < answer.size()) {
    net::spec::netlink_header h;
    if (answer.size() - at < sizeof h)
      broken("half a header");
    memcpy(&h, answer.data() + at, sizeof h);
    if (h.length < sizeof h || h.length % 4 != 0 || h.length > answer.size() - at)
      broken("a message does not fit into the answer");
    const size_t info = h.type == net::spec::new_link      ? sizeof(net::spec::link_info)
                        : h.type == net::spec::new_address ? sizeof(net::spec::address_info)
                                                           : h.length - sizeof h;
    if (info > h.length - sizeof h)
      broken("a message without its body");
    check_attributes(answer.data() + at + sizeof h + info, h.length - sizeof h - info);
    at += h.length;
  }
}

net::socket_address address_from(const bytes& b) {
  net::socket_address a;
  const size_t length = std::min(b.size(), sizeof a.storage);
  std::copy_n(b.data(), length, reinterpret_cast<uint8_t*>(&a.storage));
  a.length = static_cast<socklen_t>(length);
  return a;
}

void send(net::socket& s, script& in) {
  const bytes to = in.some(in.byte() % 32);
  bytes request = in.some(in.byte());
  request.reserve(1);                         // not a null pointer
  if (in.byte() & 1 && request.size() >= 4) { // a length that fits
    const auto length = static_cast<uint32_t>(request.size());
    memcpy(request.data(), &length, sizeof length);
  }
  net::socket_address address = address_from(to);
  auto data = mem::io_buffers::kernel(request.data(), request.size());
  net::socket::message m{data, MSG_DONTWAIT, to.empty() ? nullptr : &address};
  bounded_call call("send()", request.size(), held_pieces());
  (void)s.send(m);
}

void receive(net::socket& s, script& in) {
  const size_t room = in.word() % 8192;
  const int flags = in.byte() & 1 ? MSG_PEEK : 0;
  bytes buffer(std::max<size_t>(room, 1)); // not a null pointer
  auto to = mem::io_buffers::kernel(buffer.data(), room);
  net::socket_address from;
  net::socket::message m{to, flags | MSG_DONTWAIT, &from};
  size_t got = 0;
  {
    bounded_call call("receive()", room, held_pieces());
    auto done = s.receive(m);
    if (!done.ok())
      return;
    got = done.value();
  }
  if (got > room)
    broken("more than there is room for");
  buffer.resize(got);
  if (!(m.out_flags & MSG_TRUNC))
    check_answer(buffer);
}

// The argument is as long as the call takes it to be, and ASan knows its end.
void control(net::socket& s, script& in) {
  const unsigned long request = 0x8900u + in.byte() % 0x50;
  const size_t room = in.word() % 400;
  std::vector<uint8_t> argument = in.some(in.byte());
  argument.resize(std::max(sizeof(ifreq), sizeof(ifconf)));
  std::vector<char> list(room);
  if (request == SIOCGIFCONF) {
    ifconf c;
    memcpy(&c, argument.data(), sizeof c);
    c.ifc_len = c.ifc_len < 0 ? c.ifc_len : static_cast<int>(room);
    c.ifc_buf = room ? list.data() : nullptr;
    memcpy(argument.data(), &c, sizeof c);
  }
  bounded_call call("ioctl()", argument.size() + room, held_pieces());
  (void)s.control(request, argument.data());
}

void open(sockets& all, script& in) {
  const int type = in.byte() % 6, protocol = in.byte() & 1 ? in.byte() : 0;
  if (all.size() == most_sockets)
    return;
  if (auto made = net::make_netlink_socket(type, protocol, O_NONBLOCK); made.ok())
    all.push_back(made.take());
}

// A router announces a prefix, so that there are addresses to list and then fewer again.
void announce(script& in) {
  bytes m = {134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0};
  const uint32_t life = in.byte();
  put32(m, life);
  put32(m, life);
  put32(m, 0);
  append(m, {0xfd, 1, 0, 0, 0, 0, 0, in.byte(), 0, 0, 0, 0, 0, 0, 0, 0});
  static constexpr uint8_t all_nodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const ip6_way way = {peer_ip6, all_nodes};
  set16(m, 2, checksum6(way, 58, m));
  devices[0].deliver(ethernet(1, 0x86dd, ipv6(58, m, way, 255)), net::checksum_state::none);
  run_stack();
}

void name(net::socket& s, script& in) {
  net::socket_address a;
  (void)(in.byte() & 1 ? s.local_name(a) : s.peer_name(a));
}

void call(sockets& all, script& in) {
  const uint8_t what = in.byte() % 10, which = in.byte();
  if (what == 0 || all.empty())
    return open(all, in);
  net::socket& s = *all[which % all.size()];
  switch (what) {
  case 1:
  case 2:
    return send(s, in);
  case 3:
    return receive(s, in);
  case 4:
    return control(s, in);
  case 5:
    return (void)s.bind(address_from(in.some(in.byte() % 32)));
  case 6:
    return (void)s.connect(address_from(in.some(in.byte() % 32)));
  case 7:
    announce(in);
    return pass(1000u * in.byte());
  case 8:
    return in.byte() & 1 ? fail_allocations(in.byte() % 8, failing::one) : allocate_again();
  case 9:
    name(s, in);
    return (void)all.erase(all.begin() + which % static_cast<ptrdiff_t>(all.size()));
  }
}

} // namespace

void fuzz::happen(script& in) {
  sockets all;
  while (!in.ended()) {
    call(all, in);
    check_memory();
  }
}
