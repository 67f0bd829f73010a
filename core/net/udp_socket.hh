// Datagram sockets over UDP, on lwIP's raw API.
#pragma once

#include "core/net/datagram_line.hh"
#include "core/net/inet_address.hh"
#include "core/net/socket.hh"
#include "lwip/udp.h"
#include <netinet/in.h>

namespace oblako::net {

class udp_socket final : public socket {
public:
  // Errors: nomem.
  static result<mem::ref<udp_socket>> make(int domain, uint32_t status_flags);
  udp_socket(int domain, uint32_t status_flags);
  ~udp_socket() override;

  result<void> bind(const socket_address& local) override;
  result<void> connect(const socket_address& remote) override;
  result<void> local_name(socket_address& out) override;
  result<void> peer_name(socket_address& out) override;
  result<void> shutdown(int how) override;
  result<size_t> send(message& m) override;
  result<size_t> receive(message& m) override;
  result<void> set_option(int level, int name, const void* value, socklen_t length) override;
  result<void> get_option(int level, int name, void* value, socklen_t& length) override;
  result<long> control(unsigned long request, void* app_argument) override;

  uint32_t poll_events() override { return __atomic_load_n(&events_, __ATOMIC_ACQUIRE); }
  bool poll_sources() override;
  bool needs_network() const override { return true; }
  void closed() override;
  // --- for /proc/net. Lock held.
  static udp_socket* owner_of(const udp_pcb& u); // nullptr: not an application's
  uint32_t unread() const { return queued_bytes_; }

  // SO_REUSEPORT: others may have the same address.
  bool shares_port() const { return settings_.reuse_port; }
  // What was sent from there to a connected socket's peer did not arrive. Lock held.
  static void unreachable(const endpoint& local, const endpoint& peer, error e);

private:
  // A received datagram, waiting to be read.
  struct datagram {
    datagram* next;
    pbuf* data;
    endpoint from;
    ip_addr_t to;
    uint64_t arrived; // wall clock, if it is asked for
    uint8_t interface, time_to_live, type_of_service;
  };
  // What goes with one datagram besides its destination.
  struct sending {
    const endpoint* to = nullptr;
    ip_addr_t from = {}; // unspecified: as bound
    unsigned interface = 0;
    int time_to_live = -1, type_of_service = -1; // -1: the socket's
  };

  static void on_receive(void* self, udp_pcb* pcb, pbuf* data, const ip_addr_t* from, u16_t port);
  void settings_changed() override;
  void apply_options();
  result<void> bind_to(const endpoint& local);
  result<void> send_or_wait(pbuf* data, const sending& how, int flags);
  result<void> send_locked(pbuf* data, const sending& how);
  result<netif*> way_to(const ip_addr_t& to, const sending& how) const;
  static void on_room(datagram_sender& s);
  result<bool> fits_path(const netif& route, pbuf* data, const ip_addr_t& to) const;
  int mtu_discovery(bool ipv6) const { return mtu_discovery_[ipv6]; }
  err_t transmit(pbuf* data, const endpoint& target, const sending& how, netif* out);
  static result<void> read_control(const control_data& control, sending& how);
  void write_control(const datagram& d, control_data& out) const;
  void write_packet_info(const datagram& d, control_data& out) const;
  error take_error() override;
  result<void> set_ip_option(int level, int name, int value);
  result<size_t> take(message& m);
  static uint32_t cost_of(const pbuf& data);
  bool may_queue(uint32_t cost) const;
  void drop_first();
  void take_out_first();
  void close_block();
  void refresh(uint32_t again = 0);

  // What it has in line before a device. Has to know its socket.
  struct own_sender : datagram_sender {
    udp_socket* socket;
  };

  // --- guarded by the stack's lock
  own_sender sender_;
  bool refused_ = false; // a datagram found no room
  udp_pcb* pcb_ = nullptr;
  datagram* first_ = nullptr;
  datagram* last_ = nullptr;
  uint32_t queued_bytes_ = 0;
  bool bound_ = false, connected_ = false, only_ipv6_ = false;
  bool read_shut_ = false, write_shut_ = false;
  // Control messages that the application asked for.
  bool wants_info_ = false, wants_info6_ = false;
  bool wants_time_to_live_ = false, wants_type_of_service_ = false;
  error pending_ = error::none; // SO_ERROR
  uint8_t time_to_live_ = 64, type_of_service_ = 0;
  uint8_t mtu_discovery_[2] = {IP_PMTUDISC_WANT, IP_PMTUDISC_WANT}; // over IPv4, and IPv6
  endpoint local_, remote_;
  uint32_t events_ = 0; // atomic: read without the lock
};

} // namespace oblako::net
