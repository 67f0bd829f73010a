// /proc/net/tcp, udp, unix and sockstat, in Linux's format (net/ipv4/tcp_ipv4.c prints
// "%4d: %08X:%04X %08X:%04X %02X %08X:%08X %02X:%08lX %08X %5u %8d %lu %d ...").
#include "core/fs/pseudo.hh"
#include "core/mem/buffer_account.hh"
#include "core/net/proc_net.hh"
#include "core/net/stack.hh"
#include "core/net/tcp_handshake.hh"
#include "core/net/tcp_predict.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/udp_socket.hh"
#include "core/net/unix_socket.hh"
#include "lwip/priv/tcp_priv.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

// Brings this file in with the sockets; what of it stays is up to who refers to the functions.
extern "C" {
extern const char oblako_proc_net_sockets;
const char oblako_proc_net_sockets = 0;
}

namespace oblako::net {
namespace {

using ulong = unsigned long;

// The log's formats know no capital hexadecimal digits.
void append_hex(fs::text_builder& out, uint32_t value, int digits) {
  char text[8];
  for (int i = digits; i-- > 0; value >>= 4)
    text[i] = "0123456789ABCDEF"[value & 15];
  out.append_bytes(text, static_cast<size_t>(digits));
}

// Linux prints an address as it lies in memory, in words.
void append_endpoint(fs::text_builder& out, const ip_addr_t& ip, uint16_t port, int domain) {
  if (domain == AF_INET) {
    append_hex(out, IP_IS_V6_VAL(ip) ? 0 : ip4_addr_get_u32(ip_2_ip4(&ip)), 8);
  } else {
    socket_address a;
    endpoint_to({ip, port}, AF_INET6, a);
    uint32_t words[4];
    memcpy(words, &reinterpret_cast<sockaddr_in6&>(a.storage).sin6_addr, sizeof words);
    for (uint32_t w : words)
      append_hex(out, w, 8);
  }
  out.append(":");
  append_hex(out, port, 4);
}

struct row {
  ip_addr_t local, remote;
  uint16_t local_port, remote_port;
  uint8_t state;
  uint32_t to_send, received;
  ulong inode;
  ulong retransmits = 0;
};

// `width` Linux pads the line to, without the end.
void append_row(fs::text_builder& out, unsigned number, const row& r, int domain, size_t width,
                const char* behind) {
  const size_t start = out.size();
  out.append("%4u: ", number);
  append_endpoint(out, r.local, r.local_port, domain);
  out.append(" ");
  append_endpoint(out, r.remote, r.remote_port, domain);
  out.append(" ");
  append_hex(out, r.state, 2);
  out.append(" ");
  append_hex(out, r.to_send, 8);
  out.append(":");
  append_hex(out, r.received, 8);
  out.append(" 00:00000000 ");
  append_hex(out, static_cast<uint32_t>(r.retransmits), 8);
  out.append(" %5u %8u %lu %s", 0u, 0u, r.inode, behind);
  while (out.size() - start < width && !out.failed())
    out.append(" ");
  out.append("\n");
}

// Which of the two files a connection belongs in.
int domain_of(const tcp_pcb& c) {
  if (const auto* owner = static_cast<const tcp_socket*>(c.callback_arg))
    return owner->domain();
  return IP_IS_V6_VAL(c.remote_ip) ? AF_INET6 : AF_INET;
}

row row_of(const tcp_pcb& c) {
  const auto* owner = static_cast<const tcp_socket*>(c.callback_arg);
  const bool listening = c.state == LISTEN;
  row r = {c.local_ip, {}, c.local_port, 0, tcp_socket::state_number(c), 0, 0, 0};
  if (owner && c.state != SYN_RCVD)
    r.inode = owner->inode();
  if (listening) {
    r.received = owner ? owner->waiting() : 0;
    return r;
  }
  r.remote = c.remote_ip;
  r.remote_port = c.remote_port;
  r.to_send = c.snd_lbb - c.lastack;
  r.received = owner && c.state != SYN_RCVD ? owner->unread() : 0;
  r.retransmits = c.nrtx;
  return r;
}

row row_of(const tcp_socket& s) {
  return {s.local().ip,    s.remote().ip, s.local().port, s.remote().port,
          s.local_state(), s.unsent(),    s.unread(),     s.inode()};
}

void write_tcp(fs::text_builder& out, int domain) {
  const char* header =
      domain == AF_INET
          ? "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
            "timeout inode                                                     \n"
          : "  sl  local_address                         remote_address                        st "
            "tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  out.append("%s", header);
  stack_guard guard;
  unsigned number = 0;
  const size_t width = domain == AF_INET ? 149 : 0;
  constexpr const char* behind = "1 0000000000000000 100 0 0 10 0";
  for (const tcp_pcb* list : {tcp_listen_pcbs.pcbs, tcp_active_pcbs})
    for (const tcp_pcb* c = list; c; c = c->next)
      if (domain_of(*c) == domain)
        append_row(out, number++, row_of(*c), domain, width, behind);
  for_each_local_end([&](const tcp_socket& s) {
    if (s.domain() == domain && s.local_state() != TCP_CLOSE)
      append_row(out, number++, row_of(s), domain, width, behind);
  });
  struct rest {
    fs::text_builder& out;
    unsigned& number;
    int domain;
  } r{out, number, domain};
  for_each_time_wait(
      [](const blockless_connection& c, void* to) {
        auto& r = *static_cast<rest*>(to);
        if ((IP_IS_V6_VAL(c.remote) ? AF_INET6 : AF_INET) != r.domain)
          return;
        const row line = {c.local, c.remote, c.local_port, c.remote_port, TCP_TIME_WAIT, 0, 0, 0};
        append_row(r.out, r.number++, line, r.domain, r.domain == AF_INET ? 149 : 0,
                   "3 0000000000000000");
      },
      &r);
}

void write_udp(fs::text_builder& out, int domain) {
  const char* header =
      domain == AF_INET
          ? "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
            "timeout inode ref pointer drops             \n"
          : "  sl  local_address                         remote_address                        st "
            "tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
  out.append("%s", header);
  stack_guard guard;
  for (const udp_pcb* u = udp_pcbs; u; u = u->next) {
    const auto* owner = udp_socket::owner_of(*u);
    if (!owner || owner->domain() != domain || u->local_port == 0)
      continue; // DHCP's own, or not bound
    const bool connected = u->flags & UDP_FLAGS_CONNECTED;
    const row r = {u->local_ip,
                   connected ? u->remote_ip : ip_addr_t{},
                   u->local_port,
                   connected ? u->remote_port : uint16_t{0},
                   static_cast<uint8_t>(connected ? 1 : 7),
                   0,
                   owner->unread(),
                   owner->inode()};
    append_row(out, u->local_port, r, domain, domain == AF_INET ? 127 : 0, "2 0000000000000000 0");
  }
}

// Calls visit() with every socket that has a descriptor.
template <class Visitor>
void for_each_socket(Visitor visit) {
  for (int fd = -1;
       (fd = posix::descriptors.next_used(static_cast<uint32_t>(fd + 1), ~0u >> 1)) >= 0;) {
    auto f = posix::get_file(fd);
    if (!f.ok())
      continue;
    if (socket* s = (*f)->as_socket())
      visit(*s);
  }
}

void append_unix(fs::text_builder& out, socket& s) {
  out.append("0000000000000000: 00000002 00000000 ");
  append_hex(out, s.is_accepting() ? 0x10000 : 0, 8);
  out.append(" ");
  append_hex(out, static_cast<uint32_t>(s.type()), 4);
  socket_address a;
  const bool connected = s.peer_name(a).ok();
  out.append(" %s %5lu", connected ? "03" : "01", ulong{s.inode()});
  if (s.local_name(a).ok() && a.length > sizeof(sa_family_t)) {
    auto* path = reinterpret_cast<const char*>(&a.storage) + sizeof(sa_family_t);
    size_t length = a.length - sizeof(sa_family_t);
    out.append(path[0] ? " " : " @");
    if (path[0])
      length = strnlen(path, length);
    else
      ++path, --length;
    out.append_bytes(path, length);
  }
  out.append("\n");
}

unsigned length_of(const tcp_pcb* list) {
  unsigned n = 0;
  for (; list; list = list->next)
    ++n;
  return n;
}

} // namespace

void write_proc_tcp(fs::text_builder& out) {
  write_tcp(out, AF_INET);
}
void write_proc_tcp6(fs::text_builder& out) {
  write_tcp(out, AF_INET6);
}
void write_proc_udp(fs::text_builder& out) {
  write_udp(out, AF_INET);
}
void write_proc_udp6(fs::text_builder& out) {
  write_udp(out, AF_INET6);
}

void write_proc_unix(fs::text_builder& out) {
  out.append("Num       RefCount Protocol Flags    Type St Inode Path\n");
  for_each_socket([&out](socket& s) {
    if (s.domain() == AF_UNIX)
      append_unix(out, s);
  });
}

// Linux's names where Linux counts the same; how often the short ways were taken.
void write_proc_netstat(fs::text_builder& out) {
  stack_guard guard;
  out.append("TcpExt: TCPHPHits TCPHPAcks TCPHPSent\nTcpExt: %lu %lu %lu\n", ulong{predicted.data},
             ulong{predicted.acknowledgements}, ulong{predicted.sent});
}

void write_proc_sockstat(fs::text_builder& out) {
  unsigned sockets = 0, udp = 0, orphans = 0;
  for_each_socket([&sockets](socket&) { ++sockets; });
  stack_guard guard;
  for (const tcp_pcb* c = tcp_active_pcbs; c; c = c->next)
    orphans += c->callback_arg == nullptr;
  for (const udp_pcb* u = udp_pcbs; u; u = u->next)
    udp += udp_socket::owner_of(*u) != nullptr && u->local_port != 0;
  unsigned active = length_of(tcp_active_pcbs);
  for_each_local_end([&active](const tcp_socket&) { ++active; });
  const unsigned listening = length_of(tcp_listen_pcbs.pcbs);
  out.append("sockets: used %u\nTCP: inuse %u orphan %u tw %u alloc %u mem %lu\n", sockets,
             active + listening, orphans, time_wait_count(), active + listening,
             ulong{mem::buffers.held() / page_size});
  out.append("UDP: inuse %u mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n", udp);
}

} // namespace oblako::net
