// The netlink socket. A request is answered at once; the answer is one datagram that waits to be
// read.
#include "core/net/interface_query.hh"
#include "core/net/netlink.hh"
#include "core/net/stack.hh"

#include <string.h>
#include <sys/epoll.h>

namespace oblako::net {
namespace {

class netlink_socket final : public socket {
public:
  netlink_socket(int type, int protocol, uint32_t status_flags)
      : socket(AF_NETLINK, type, protocol, status_flags) {}
  ~netlink_socket() override {
    while (datagram* d = first_) {
      first_ = d->next;
      mem::release(d);
    }
  }

  result<void> bind(const socket_address& local) override;
  result<void> connect(const socket_address& remote) override;
  result<void> local_name(socket_address& out) override;
  result<void> peer_name(socket_address& out) override;
  result<size_t> send(message& m) override;
  result<size_t> receive(message& m) override;
  result<long> control(unsigned long request, void* app_argument) override {
    return interface_control(request, app_argument);
  }
  uint32_t poll_events() override;

private:
  struct datagram {
    datagram* next;
    size_t bytes;
    uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  };
  static constexpr unsigned most_waiting = 16;

  result<void> answer(const spec::netlink_header& request, uint8_t family);
  result<size_t> take(message& m);

  sched::mutex lock_; // guards the rest; the stack's lock comes before it
  uint32_t port_ = static_cast<uint32_t>(inode()) & 0x7fffffff;
  datagram* first_ = nullptr;
  unsigned waiting_ = 0;
};

using guard = sched::lock_guard<sched::mutex>;

// Errors: inval.
result<spec::netlink_address> address_from(const socket_address& a) {
  spec::netlink_address address;
  if (a.length < sizeof address || a.base.sa_family != AF_NETLINK)
    return error::inval;
  memcpy(&address, &a.storage, sizeof address);
  return address;
}

void address_to(uint32_t port, socket_address& out) {
  const spec::netlink_address address = {.family = AF_NETLINK, .pad = 0, .port = port, .groups = 0};
  memcpy(&out.storage, &address, sizeof address);
  out.length = sizeof address;
}

result<void> netlink_socket::bind(const socket_address& local) {
  const auto address = TRY(address_from(local));
  guard g(lock_);
  if (address.port != 0)
    port_ = address.port;
  return {};
}

// There is nobody but the kernel, which is port 0.
result<void> netlink_socket::connect(const socket_address& remote) {
  const auto address = TRY(address_from(remote));
  return address.port == 0 ? result<void>() : result<void>(error::connrefused);
}

result<void> netlink_socket::local_name(socket_address& out) {
  guard g(lock_);
  address_to(port_, out);
  return {};
}

result<void> netlink_socket::peer_name(socket_address& out) {
  address_to(0, out);
  return {};
}

// Errors: nomem, nobufs (answers are not read).
result<void> netlink_socket::answer(const spec::netlink_header& request, uint8_t family) {
  stack_guard stack;
  guard g(lock_);
  if (waiting_ == most_waiting)
    return error::nobufs;
  const size_t room = list_size();
  auto* reply = static_cast<datagram*>(mem::allocate_buffer(sizeof(datagram) + room));
  if (!reply)
    return error::nomem;
  netlink_writer out(reply->data(), room, request, port_);
  const bool list = (request.flags & spec::whole_list) == spec::whole_list;
  constexpr int32_t success = 0;
  if (list && request.type == spec::get_link) {
    list_links(out);
    out.begin(spec::netlink_done, spec::part_of_many, &success, sizeof success);
  } else if (list && request.type == spec::get_address) {
    list_addresses(out, family);
    out.begin(spec::netlink_done, spec::part_of_many, &success, sizeof success);
  } else {
    const struct {
      int32_t error;
      spec::netlink_header request;
    } refusal = {-static_cast<int32_t>(error::opnotsupp), request};
    out.begin(spec::netlink_error, 0, &refusal, sizeof refusal);
  }
  *reply = {.next = nullptr, .bytes = out.finish()};
  datagram** end = &first_;
  while (*end)
    end = &(*end)->next;
  __atomic_store_n(end, reply, __ATOMIC_RELEASE); // pairs with poll_events()
  ++waiting_;
  return {};
}

result<size_t> netlink_socket::send(message& m) {
  if (m.address && TRY(address_from(*m.address)).port != 0)
    return error::connrefused;
  struct {
    spec::netlink_header header;
    uint8_t family; // what a request for a list begins with
  } request = {};
  const size_t bytes = m.data.remaining();
  TRY(m.data.get_whole(&request, min_of(bytes, sizeof request)));
  // Linux drops what is no message.
  if (bytes < sizeof request.header || request.header.length < sizeof request.header ||
      request.header.length > bytes)
    return bytes;
  TRY(answer(request.header, request.family));
  readiness().wake_all(EPOLLIN | EPOLLRDNORM);
  return bytes;
}

// Errors: again (there is nothing).
result<size_t> netlink_socket::take(message& m) {
  guard g(lock_);
  datagram* reply = first_;
  if (!reply)
    return error::again;
  const size_t bytes = reply->bytes;
  const size_t put = TRY(m.data.put_whole(reply->data(), min_of(bytes, m.data.remaining())));
  if (put < bytes)
    m.out_flags |= MSG_TRUNC;
  if (m.address)
    address_to(0, *m.address);
  if (!(m.flags & MSG_PEEK)) {
    __atomic_store_n(&first_, reply->next, __ATOMIC_RELEASE); // pairs with poll_events()
    --waiting_;
    mem::release(reply);
  }
  return m.flags & MSG_TRUNC ? bytes : put;
}

result<size_t> netlink_socket::receive(message& m) {
  const uint64_t deadline = receive_deadline();
  for (;;) {
    auto taken = take(m);
    if (taken.ok() || taken.code() != error::again || nonblocking(m.flags))
      return taken;
    auto waited = sched::wait_until(
        readiness(), [this] { return (poll_events() & EPOLLIN) != 0; }, deadline);
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

uint32_t netlink_socket::poll_events() {
  return EPOLLOUT | EPOLLWRNORM |
         (__atomic_load_n(&first_, __ATOMIC_ACQUIRE) ? EPOLLIN | EPOLLRDNORM : 0);
}

} // namespace

result<mem::ref<socket>> make_netlink_socket(int type, int protocol, uint32_t status_flags) {
  constexpr int route = 0;
  if (type != SOCK_RAW && type != SOCK_DGRAM)
    return error::socktnosupport;
  if (protocol != route)
    return error::protonosupport;
  return mem::ref<socket>(TRY(mem::make_shared<netlink_socket>(type, protocol, status_flags)));
}

} // namespace oblako::net
