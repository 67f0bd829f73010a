// Datagram sockets over UDP, on lwIP's raw API.
#pragma once

#include "core/net/inet_address.hh"
#include "core/net/socket.hh"
#include "lwip/udp.h"

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

private:
  // A received datagram, waiting to be read.
  struct datagram {
    datagram* next;
    pbuf* data;
    endpoint from;
  };

  static void on_receive(void* self, udp_pcb* pcb, pbuf* data, const ip_addr_t* from, u16_t port);
  void settings_changed() override;
  void apply_options();
  result<void> bind_to(const endpoint& local);
  result<void> send_locked(pbuf* data, const endpoint* to);
  result<size_t> take(message& m);
  void drop_first();
  void close_block();
  void refresh(uint32_t again = 0);

  // --- guarded by the stack's lock
  udp_pcb* pcb_ = nullptr;
  datagram* first_ = nullptr;
  datagram* last_ = nullptr;
  uint32_t queued_bytes_ = 0;
  bool bound_ = false, connected_ = false, only_ipv6_ = false;
  bool read_shut_ = false, write_shut_ = false;
  uint8_t time_to_live_ = 64, type_of_service_ = 0;
  endpoint local_, remote_;
  uint32_t events_ = 0; // atomic: read without the lock
};

} // namespace oblako::net
