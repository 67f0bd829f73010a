#include "core/net/udp_socket.hh"

#include "core/mem/buffer_account.hh"
#include "core/net/control_data.hh"
#include "core/net/interface.hh"
#include "core/net/interface_query.hh"
#include "core/net/path_mtu.hh"
#include "core/net/poller.hh"
#include "core/net/port.hh"
#include "core/net/stack.hh"
#include "lwip/netif.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

namespace oblako::net {
namespace {

constexpr uint32_t default_buffer = 212992; // Linux's
constexpr size_t largest_datagram = 65507;

// As on Linux: SO_REUSEADDR on both, or SO_REUSEPORT on both, lets them share it.
bool address_taken(const udp_pcb* self, const ip_addr_t& ip, uint16_t port, bool reuse_address,
                   bool reuse_port) {
  for (udp_pcb* p = udp_pcbs; p; p = p->next) {
    if (p == self || p->local_port != port || !addresses_overlap(p->local_ip, ip))
      continue;
    const udp_socket* other = udp_socket::owner_of(*p);
    const bool other_shares = other && other->shares_port();
    if (!(reuse_address && (p->so_options & SOF_REUSEADDR)) && !(reuse_port && other_shares))
      return true;
  }
  return false;
}

bool port_used(uint16_t port, const void*) {
  for (udp_pcb* p = udp_pcbs; p; p = p->next)
    if (p->local_port == port)
      return true;
  return false;
}

// A datagram that will be cut into fragments carries one checksum over all of them, which a device
// cannot make: for those lwIP does.
class software_checksum : noncopyable {
public:
  software_checksum(netif* n, bool is_cut) : n_(is_cut ? n : nullptr) {
    if (!n_)
      return;
    before_ = n_->chksum_flags;
    n_->chksum_flags |= NETIF_CHECKSUM_GEN_UDP;
  }
  ~software_checksum() {
    if (n_)
      n_->chksum_flags = before_;
  }

private:
  netif* n_;
  u16_t before_ = 0;
};

} // namespace

result<mem::ref<udp_socket>> udp_socket::make(int domain, uint32_t status_flags) {
  auto s = TRY(mem::make_shared<udp_socket>(domain, status_flags));
  stack_guard guard;
  s->pcb_ = udp_new_ip_type(domain == AF_INET6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
  if (!s->pcb_)
    return error::nomem;
  udp_recv(s->pcb_, on_receive, s.get());
  s->apply_options();
  s->refresh();
  return s;
}

udp_socket::udp_socket(int domain, uint32_t status_flags)
    : socket(domain, SOCK_DGRAM, IPPROTO_UDP, status_flags) {
  settings_.receive_buffer = settings_.send_buffer = default_buffer;
  sender_.has_room = on_room;
  sender_.socket = this;
  if (domain == AF_INET6)
    IP_SET_TYPE_VAL(local_.ip, IPADDR_TYPE_V6);
}

udp_socket::~udp_socket() {
  if (pcb_)
    closed();
}

void udp_socket::closed() {
  stack_guard guard;
  close_block();
}

void udp_socket::close_block() {
  if (pcb_)
    udp_remove(pcb_);
  pcb_ = nullptr;
  forget_sender(sender_);
  refused_ = false;
  while (first_)
    drop_first();
  read_shut_ = write_shut_ = true;
  refresh();
}

// All the memory that a datagram takes while it waits.
uint32_t udp_socket::cost_of(const pbuf& data) {
  return static_cast<uint32_t>(packet_memory(data) + sizeof(datagram));
}

// One datagram is taken however short memory is.
bool udp_socket::may_queue(uint32_t cost) const {
  return !read_shut_ &&
         (!first_ || queued_bytes_ + cost <=
                         min_of<size_t>(settings_.receive_buffer, mem::buffers.share(least_share)));
}

void udp_socket::drop_first() {
  datagram* d = first_;
  first_ = d->next;
  if (!first_)
    last_ = nullptr;
  queued_bytes_ -= cost_of(*d->data);
  pbuf_free(d->data);
  mem::release_sized(d, sizeof *d);
}

void udp_socket::take_out_first() {
  drop_first();
  refresh();
}

void udp_socket::refresh(uint32_t again) {
  uint32_t now = refused_ ? 0 : EPOLLOUT | EPOLLWRNORM;
  if (pending_ != error::none)
    now |= EPOLLERR;
  if (first_ || read_shut_)
    now |= EPOLLIN | EPOLLRDNORM;
  if (read_shut_)
    now |= EPOLLRDHUP;
  if (read_shut_ && write_shut_)
    now |= EPOLLHUP;
  const uint32_t before = events_;
  if (now != before)
    __atomic_store_n(&events_, now, __ATOMIC_RELEASE); // pairs with poll_events()
  if (const uint32_t news = (now & ~before) | (now & again))
    readiness().wake_all(news);
}

bool udp_socket::poll_sources() {
  return poll();
}

// --- names

result<void> udp_socket::bind(const socket_address& local) {
  const endpoint e = TRY(endpoint_from(local, domain()));
  stack_guard guard;
  if (bound_ || !pcb_)
    return error::inval;
  if (!is_local(e.ip))
    return error::addrnotavail;
  return bind_to(e);
}

result<void> udp_socket::bind_to(const endpoint& local) {
  const ip_addr_t ip =
      binding_address(local, domain(), only_ipv6_ ? only_ipv6::yes : only_ipv6::no);
  uint16_t port = local.port;
  if (port == 0)
    port = pick_port(port_used);
  else if (address_taken(pcb_, ip, port, settings_.reuse_address, settings_.reuse_port))
    return error::addrinuse;
  if (port == 0)
    return error::addrinuse;
  const u8_t options = pcb_->so_options;
  ip_set_option(pcb_, SOF_REUSEADDR); // the check above is the one that counts
  const err_t e = udp_bind(pcb_, &ip, port);
  pcb_->so_options = options;
  if (e != ERR_OK)
    return error_of(e);
  local_ = local;
  local_.port = port;
  bound_ = true;
  return {};
}

result<void> udp_socket::connect(const socket_address& remote) {
  if (remote.length >= sizeof(sa_family_t) && remote.base.sa_family == AF_UNSPEC) {
    stack_guard guard;
    if (pcb_)
      udp_disconnect(pcb_);
    connected_ = false;
    return {};
  }
  endpoint e = TRY(endpoint_from(remote, domain()));
  any_to_loopback(e.ip);
  stack_guard guard;
  if (!pcb_)
    return error::inval;
  if (!bound_) {
    endpoint any;
    any.ip = local_.ip;
    TRY(bind_to(any));
  }
  netif* route = ip_route(&pcb_->local_ip, &e.ip);
  if (!route)
    return error::netunreach;
  const err_t outcome = udp_connect(pcb_, &e.ip, e.port);
  if (outcome != ERR_OK)
    return error_of(outcome);
  if (is_any(local_.ip))
    if (const ip_addr_t* own = ip_netif_get_local_ip(route, &e.ip))
      local_.ip = *own;
  remote_ = e;
  connected_ = true;
  return {};
}

result<void> udp_socket::local_name(socket_address& out) {
  stack_guard guard;
  endpoint_to(local_, domain(), out);
  return {};
}

result<void> udp_socket::peer_name(socket_address& out) {
  stack_guard guard;
  if (!connected_)
    return error::notconn;
  endpoint_to(remote_, domain(), out);
  return {};
}

result<void> udp_socket::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR)
    return error::inval;
  stack_guard guard;
  if (!connected_)
    return error::notconn;
  read_shut_ |= how != SHUT_WR;
  write_shut_ |= how != SHUT_RD;
  refresh();
  return {};
}

udp_socket* udp_socket::owner_of(const udp_pcb& u) {
  return u.recv == on_receive ? static_cast<udp_socket*>(u.recv_arg) : nullptr;
}

// --- errors

void udp_socket::unreachable(const endpoint& local, const endpoint& peer, error e) {
  for (udp_pcb* p = udp_pcbs; p; p = p->next) {
    if (!(p->flags & UDP_FLAGS_CONNECTED) || p->local_port != local.port ||
        p->remote_port != peer.port || !ip_addr_cmp(&p->remote_ip, &peer.ip) ||
        !addresses_overlap(p->local_ip, local.ip))
      continue;
    udp_socket* s = owner_of(*p);
    if (s &&
        !(e == error::msgsize && s->mtu_discovery(IP_IS_V6_VAL(peer.ip)) == IP_PMTUDISC_DONT)) {
      s->pending_ = e;
      s->refresh(EPOLLERR);
    }
    return;
  }
}

error udp_socket::take_error() {
  const error e = pending_;
  if (e != error::none) {
    pending_ = error::none;
    refresh();
  }
  return e;
}

// --- transfer

result<size_t> udp_socket::send(message& m) {
  if (m.flags & MSG_OOB)
    return error::opnotsupp;
  const size_t bytes = m.data.remaining();
  if (bytes > largest_datagram)
    return error::msgsize;
  endpoint to;
  if (m.address) {
    to = TRY(endpoint_from(*m.address, domain()));
    any_to_loopback(to.ip);
  }
  sending how;
  how.to = m.address ? &to : nullptr;
  if (m.control)
    TRY(read_control(*m.control, how));
  pbuf* data = pbuf_alloc(PBUF_TRANSPORT, static_cast<u16_t>(bytes), PBUF_RAM);
  if (!data)
    return error::nobufs;
  auto copied = m.data.get_whole(data->payload, bytes);
  auto outcome = copied.ok() ? send_or_wait(data, how, m.flags) : result<void>(copied.code());
  {
    stack_guard guard;
    pbuf_free(data);
  }
  if (!outcome.ok())
    return outcome.code() == error::pipe ? broken_pipe(m.flags) : outcome.code();
  return bytes;
}

result<void> udp_socket::send_or_wait(pbuf* data, const sending& how, int flags) {
  const uint64_t deadline = send_deadline();
  for (;;) {
    {
      stack_guard guard;
      auto outcome = send_locked(data, how);
      if (outcome.code() != error::again || nonblocking(flags))
        return outcome;
    }
    auto waited = net::wait_until(
        readiness(), [this] { return (poll_events() & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0; },
        deadline);
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

void udp_socket::on_room(datagram_sender& s) {
  udp_socket& self = *static_cast<own_sender&>(s).socket;
  self.refused_ = false;
  self.refresh();
}

// The interface that a datagram leaves by. Errors: netunreach, nodev (there is none with this
// index).
result<netif*> udp_socket::way_to(const ip_addr_t& to, const sending& how) const {
  netif* way = nullptr;
  if (how.interface == 0)
    way = ip_route(is_any(how.from) ? &pcb_->local_ip : &how.from, &to);
  else if (how.interface > 0xff || !(way = netif_get_by_index(static_cast<u8_t>(how.interface))))
    return error::nodev;
  return way ? result<netif*>(way) : error::netunreach;
}

// Errors: again (no room), and what send() gives.
result<void> udp_socket::send_locked(pbuf* data, const sending& how) {
  if (pending_ != error::none)
    return take_error();
  if (write_shut_ || !pcb_)
    return error::pipe;
  if (!how.to && !connected_)
    return error::destaddrreq;
  const endpoint& target = how.to ? *how.to : remote_;
  if (target.port == 0)
    return error::inval;
  if (!bound_) {
    endpoint any;
    any.ip = local_.ip;
    TRY(bind_to(any));
  }
  netif* route = TRY(way_to(target.ip, how));
  if (!settings_.broadcast && IP_IS_V4_VAL(target.ip) &&
      ip4_addr_isbroadcast(ip_2_ip4(&target.ip), route))
    return error::acces;
  if (!is_any(how.from) && !is_local(how.from))
    return error::inval;
  const bool is_cut = !TRY(fits_path(*route, data, target.ip));
  const size_t most = min_of<size_t>(settings_.send_buffer, mem::buffers.share(least_share));
  refused_ = !may_send(*route, sender_, most);
  refresh();
  if (refused_)
    return error::again;
  software_checksum whole(route, is_cut);
  sending_for us(sender_);
  const err_t e = transmit(data, target, how, route);
  return e == ERR_OK ? result<void>() : result<void>(e == ERR_MEM ? error::nobufs : error_of(e));
}

// True if the datagram will arrive as it is; then the socket may want it to go as a whole or not at
// all (ip(7), IP_MTU_DISCOVER). Errors: msgsize (it may not be cut).
result<bool> udp_socket::fits_path(const netif& route, pbuf* data, const ip_addr_t& to) const {
  const bool v6 = IP_IS_V6_VAL(to);
  const int how = mtu_discovery(v6);
  const uint16_t most = how == IP_PMTUDISC_PROBE || how == IP_PMTUDISC_INTERFACE
                            ? link_mtu(route, v6)
                            : path_mtu(route, to);
  const bool fits = most == 0 || data->tot_len + (v6 ? IP6_HLEN : IP_HLEN) + UDP_HLEN <= most;
  if (!fits && (how == IP_PMTUDISC_DO || how == IP_PMTUDISC_PROBE || how == IP_PMTUDISC_INTERFACE))
    return error::msgsize;
  if (fits && (how == IP_PMTUDISC_WANT || how == IP_PMTUDISC_DO || how == IP_PMTUDISC_PROBE))
    data->flags |= PBUF_FLAG_WHOLE;
  return fits;
}

// With what a control message said for this datagram alone.
err_t udp_socket::transmit(pbuf* data, const endpoint& target, const sending& how, netif* out) {
  if (how.time_to_live >= 0)
    pcb_->ttl = static_cast<u8_t>(how.time_to_live);
  if (how.type_of_service >= 0)
    pcb_->tos = static_cast<u8_t>(how.type_of_service);
  err_t e;
  if (!is_any(how.from))
    e = udp_sendto_if_src(pcb_, data, &target.ip, target.port, out, &how.from);
  else if (how.interface)
    e = udp_sendto_if(pcb_, data, &target.ip, target.port, out);
  else
    e = udp_sendto(pcb_, data, &target.ip, target.port);
  pcb_->ttl = time_to_live_;
  pcb_->tos = type_of_service_;
  return e;
}

void udp_socket::on_receive(void* self, udp_pcb*, pbuf* data, const ip_addr_t* from, u16_t port) {
  auto* s = static_cast<udp_socket*>(self);
  // Where it came from is read from its headers, which lie in its own buffer.
  const auto hop_limit =
      ip_current_is_v6() ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
  const auto traffic_class = static_cast<uint8_t>(
      ip_current_is_v6() ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header()));
  // Behind others, a small one does not keep a large receive buffer.
  if (s->first_ && cost_of(*data) > 2u * data->tot_len + sizeof(datagram))
    if (pbuf* copy = pbuf_clone(PBUF_RAW, PBUF_RAM, data)) {
      pbuf_free(data); // and with it the headers
      data = copy;
    }
  const uint32_t cost = cost_of(*data);
  auto* d =
      s->may_queue(cost) ? static_cast<datagram*>(mem::allocate_buffer(sizeof(datagram))) : nullptr;
  if (!d) {
    pbuf_free(data);
    return;
  }
  *d = {nullptr,
        data,
        {*from, port},
        *ip_current_dest_addr(),
        s->settings_.timestamp ? time::wall_ns() : 0,
        netif_get_index(ip_current_input_netif()),
        hop_limit,
        traffic_class};
  (s->last_ ? s->last_->next : s->first_) = d;
  s->last_ = d;
  s->queued_bytes_ += cost;
  note_delivery();
  s->refresh(EPOLLIN | EPOLLRDNORM);
}

result<size_t> udp_socket::receive(message& m) {
  if (m.flags & (MSG_OOB | MSG_ERRQUEUE))
    return error::again;
  const uint64_t deadline = receive_deadline();
  for (;;) {
    {
      stack_guard guard;
      if (pending_ != error::none)
        return take_error();
      if (first_)
        return take(m);
      if (read_shut_)
        return size_t{0};
    }
    if (nonblocking(m.flags))
      return error::again;
    auto waited = net::wait_until(
        readiness(), [this] { return (poll_events() & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0; },
        deadline);
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

// The first datagram, as much of it as there is room for. If the memory for it cannot be written,
// it is lost, as on Linux.
result<size_t> udp_socket::take(message& m) {
  const size_t whole = first_->data->tot_len;
  const bool peek = m.flags & MSG_PEEK;
  size_t moved = 0;
  for (pbuf* p = first_->data; p && m.data.remaining(); p = p->next) {
    if (p->len == 0)
      continue;
    const size_t wanted = min_of<size_t>(p->len, m.data.remaining());
    if (!m.data.put_whole(p->payload, wanted).ok()) {
      if (!peek)
        take_out_first();
      return error::fault;
    }
    moved += wanted;
  }
  if (m.address)
    endpoint_to(first_->from, domain(), *m.address);
  if (m.control)
    write_control(*first_, *m.control);
  if (moved < whole)
    m.out_flags |= MSG_TRUNC;
  if (!peek)
    take_out_first();
  return m.flags & MSG_TRUNC ? whole : moved;
}

// --- options

void udp_socket::settings_changed() {
  stack_guard guard;
  if (pcb_)
    apply_options();
}

void udp_socket::apply_options() {
  pcb_->ttl = time_to_live_;
  pcb_->tos = type_of_service_;
  ip_reset_option(pcb_, SOF_REUSEADDR | SOF_BROADCAST);
  if (settings_.reuse_address || settings_.reuse_port)
    ip_set_option(pcb_, SOF_REUSEADDR);
  if (settings_.broadcast)
    ip_set_option(pcb_, SOF_BROADCAST);
}

result<void> udp_socket::set_option(int level, int name, const void* value, socklen_t length) {
  if (level != IPPROTO_IP && level != IPPROTO_IPV6)
    return socket::set_option(level, name, value, length);
  const int number = TRY(option_int(value, length));
  stack_guard guard;
  TRY(set_ip_option(level, name, number));
  if (pcb_)
    apply_options();
  return {};
}

result<void> udp_socket::set_ip_option(int level, int name, int number) {
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
    if (domain() != AF_INET6 || bound_)
      return error::inval;
    only_ipv6_ = number != 0;
  } else if (level == IPPROTO_IP && name == IP_PKTINFO) {
    wants_info_ = number != 0;
  } else if (level == IPPROTO_IPV6 && name == IPV6_RECVPKTINFO) {
    wants_info6_ = number != 0;
  } else if ((level == IPPROTO_IP && name == IP_RECVTTL) ||
             (level == IPPROTO_IPV6 && name == IPV6_RECVHOPLIMIT)) {
    wants_time_to_live_ = number != 0;
  } else if ((level == IPPROTO_IP && name == IP_RECVTOS) ||
             (level == IPPROTO_IPV6 && name == IPV6_RECVTCLASS)) {
    wants_type_of_service_ = number != 0;
  } else if ((level == IPPROTO_IP && name == IP_TTL) ||
             (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS)) {
    if (number < -1 || number == 0 || number > 255)
      return error::inval;
    time_to_live_ = number == -1 ? 64 : static_cast<uint8_t>(number);
  } else if ((level == IPPROTO_IP && name == IP_TOS) ||
             (level == IPPROTO_IPV6 && name == IPV6_TCLASS)) {
    type_of_service_ = static_cast<uint8_t>(number);
  } else if ((level == IPPROTO_IP && name == IP_MTU_DISCOVER) ||
             (level == IPPROTO_IPV6 && name == IPV6_MTU_DISCOVER)) {
    if (number < IP_PMTUDISC_DONT || number > IP_PMTUDISC_OMIT)
      return error::inval;
    mtu_discovery_[level == IPPROTO_IPV6] = static_cast<uint8_t>(number);
  } else if ((level == IPPROTO_IP && name == IP_RECVERR) ||
             (level == IPPROTO_IPV6 && name == IPV6_RECVERR)) {
    return {}; // no error queue; what is not there stays empty
  } else {
    return error::noprotoopt;
  }
  return {};
}

result<void> udp_socket::get_option(int level, int name, void* value, socklen_t& length) {
  stack_guard guard;
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
    return give_option_int(value, length, only_ipv6_);
  if ((level == IPPROTO_IP && name == IP_TTL) ||
      (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS))
    return give_option_int(value, length, time_to_live_);
  if ((level == IPPROTO_IP && name == IP_TOS) || (level == IPPROTO_IPV6 && name == IPV6_TCLASS))
    return give_option_int(value, length, type_of_service_);
  if (level == IPPROTO_IP && name == IP_PKTINFO)
    return give_option_int(value, length, wants_info_);
  if (level == IPPROTO_IPV6 && name == IPV6_RECVPKTINFO)
    return give_option_int(value, length, wants_info6_);
  if ((level == IPPROTO_IP && name == IP_MTU_DISCOVER) ||
      (level == IPPROTO_IPV6 && name == IPV6_MTU_DISCOVER))
    return give_option_int(value, length, mtu_discovery(level == IPPROTO_IPV6));
  if ((level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU))
    return connected_ && pcb_
               ? give_option_int(value, length, path_mtu_between(pcb_->local_ip, remote_.ip))
               : result<void>(error::notconn);
  return socket::get_option(level, name, value, length);
}

result<long> udp_socket::control(unsigned long request, void* app_argument) {
  int number = 0;
  if (request == FIONREAD) {
    poll(); // what has arrived but not been looked at counts
    stack_guard guard;
    number = first_ ? first_->data->tot_len : 0;
  } else if (request == TIOCOUTQ) {
    stack_guard guard;
    number = static_cast<int>(sender_.in_line);
  } else {
    return interface_control(request, app_argument);
  }
  TRY(mem::write_app(static_cast<int*>(app_argument), number));
  return 0;
}

} // namespace oblako::net
