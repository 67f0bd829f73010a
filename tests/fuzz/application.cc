#include "tests/fuzz/application.hh"

#include "tests/fuzz/machine.hh"
#include "tests/fuzz/steps.hh"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

using namespace oblako;

namespace fuzz {
namespace {

net::socket_address address_of(bool v6, uint16_t port, bool any) {
  net::socket_address a;
  if (v6) {
    auto* in = reinterpret_cast<sockaddr_in6*>(&a.storage);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    if (!any)
      std::copy_n(global_peer_ip6, 16, in->sin6_addr.s6_addr);
    a.length = sizeof *in;
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&a.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = any ? 0 : peer_ip;
    a.length = sizeof *in;
  }
  return a;
}

bytes& buffer_of(size_t count) {
  static bytes buffer = pattern(1 << 16);
  buffer.resize(count);
  return buffer;
}

size_t receive_on(net::socket& s, size_t count, int flags) {
  bytes buffer(count);
  auto to = mem::io_buffers::kernel(buffer.data(), buffer.size());
  net::socket_address from;
  net::socket::message m{to, flags | MSG_DONTWAIT, &from};
  bounded_call call("receive()", count, held_pieces());
  auto done = s.receive(m);
  return done.ok() ? done.value() : 0;
}

size_t send_on(net::socket& s, size_t count, int flags, net::socket_address* to = nullptr) {
  bytes& buffer = buffer_of(count);
  auto from = mem::io_buffers::kernel(buffer.data(), buffer.size());
  net::socket::message m{from, flags | MSG_DONTWAIT | MSG_NOSIGNAL, to};
  bounded_call call("send()", count, held_pieces());
  auto done = s.send(m);
  return done.ok() ? done.value() : 0;
}

void close_one(net::socket& s) {
  bounded_call call("close()", 0, held_pieces());
  s.closed();
}

constexpr uint16_t udp_ports[] = {udp_port, udp_port + 1};
constexpr uint16_t connected_port = 7;

} // namespace

void application::open() {
  listener_ = net::tcp_socket::make(AF_INET6, O_NONBLOCK).take();
  // What was closed before may still be on its way.
  constexpr int on = 1;
  if (!listener_->set_option(SOL_SOCKET, SO_REUSEADDR, &on, sizeof on).ok() ||
      !listener_->bind(address_of(true, listening_port, true)).ok() || !listener_->listen(64).ok())
    abort();
  for (unsigned i = 0; i < 4; ++i) {
    const bool v6 = i & 1;
    auto s = net::udp_socket::make(v6 ? AF_INET6 : AF_INET, O_NONBLOCK).take();
    if (!(i < 2 ? s->bind(address_of(v6, udp_ports[i], true))
                : s->connect(address_of(v6, connected_port, false)))
             .ok())
      abort();
    datagrams_.push_back(s);
  }
}

void application::close_streams() {
  for (auto& s : streams_)
    close_one(*s);
  streams_.clear();
}

void application::close() {
  close_streams();
  close_one(*listener_);
  listener_ = {};
  for (auto& s : datagrams_)
    close_one(*s);
  datagrams_.clear();
}

void application::accept() {
  bounded_call call("accept()", 0, held_pieces());
  net::socket_address peer;
  if (auto accepted = listener_->accept(peer, O_NONBLOCK); accepted.ok())
    streams_.push_back(accepted.take());
}

void application::connect(bool v6, uint16_t port) {
  bounded_call call("connect()", 0, held_pieces());
  auto made = net::tcp_socket::make(v6 ? AF_INET6 : AF_INET, O_NONBLOCK);
  if (!made.ok())
    return;
  (void)(*made)->connect(address_of(v6, port, false));
  streams_.push_back(made.take());
}

void application::act(script& in) {
  const uint8_t what = in.byte() % 10, which = in.byte();
  const size_t count = in.word();
  if (what == 0)
    return accept();
  if (what == 1)
    return connect(false, which);
  if (what == 2)
    return (void)receive_on(*datagrams_[0], count, 0);
  if (streams_.empty())
    return;
  auto& s = streams_[which % streams_.size()];
  const int on = count & 1;
  switch (what) {
  case 3:
    return (void)receive_on(*s, count, 0);
  case 4:
    return (void)receive_on(*s, count, MSG_PEEK);
  case 5:
    return (void)send_on(*s, count, 0);
  case 6:
    return (void)send_on(*s, count, MSG_MORE);
  case 7: {
    bounded_call call("shutdown()", 0, held_pieces());
    return (void)s->shutdown(static_cast<int>(count % 3));
  }
  case 8:
    return (void)s->set_option(IPPROTO_TCP, static_cast<int>(count % 20), &on, sizeof on);
  case 9:
    close_one(*s);
    streams_.erase(streams_.begin() + which % static_cast<ptrdiff_t>(streams_.size()));
  }
}

void application::use_datagrams(unsigned which, datagram_call what, size_t count) {
  which %= datagrams_.size();
  net::udp_socket& s = *datagrams_[which];
  switch (what) {
  case datagram_call::send: {
    net::socket_address to = address_of(which & 1, connected_port, false);
    return (void)send_on(s, count, 0, which < 2 ? &to : nullptr);
  }
  case datagram_call::receive:
    return (void)receive_on(s, count, 0);
  case datagram_call::peek:
    return (void)receive_on(s, count, MSG_PEEK);
  case datagram_call::error: {
    int error;
    socklen_t length = sizeof error;
    return (void)s.get_option(SOL_SOCKET, SO_ERROR, &error, length);
  }
  }
}

void application::serve(size_t reads, size_t writes) {
  constexpr size_t most = 1000;
  for (size_t before = ~size_t{0}; before != streams_.size() && streams_.size() < most;) {
    before = streams_.size();
    accept();
  }
  for (auto& s : streams_) {
    if (reads != 0)
      receive_on(*s, reads, 0);
    if (writes != 0)
      send_on(*s, writes, 0);
  }
}

} // namespace fuzz
