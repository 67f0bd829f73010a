// The network as the fuzzer sees it: devices whose received frames it makes, and what it learns
// from the frames sent, so that it can speak to connections with sequence numbers that fit.
#pragma once

#include "core/net/device.hh"
#include <deque>
#include <vector>

namespace fuzz {

using bytes = std::vector<uint8_t>;

constexpr uint32_t our_ip = 0x0200000a;  // 10.0.0.2, network byte order: the stack's
constexpr uint32_t peer_ip = 0x0100000a; // 10.0.0.1: everybody else's
constexpr uint16_t listening_port = 80, udp_port = 53;

// One end of a connection, as the peer would know it.
struct connection {
  bool ipv6;
  uint16_t our_port, peer_port; // host byte order
  uint32_t sent = 0;            // what the stack's next sequence number is, as far as was seen
  uint32_t acknowledged = 0;    // what it acknowledged last: where the peer goes on
};

class wire final : public oblako::net::device {
public:
  explicit wire(uint8_t number) : number_(number) {}

  // Queues a frame, in pieces of `piece` bytes (0: one), for the stack to receive.
  void deliver(const bytes& frame, oblako::net::checksum_state checksum, size_t piece = 0);
  void fill_ring_for(unsigned transmits) { refuse_ = transmits; }
  // What waits to be received. Units: bytes.
  size_t waiting_bytes() const { return waiting_bytes_; }
  // Everything sent is done; nothing is queued any more.
  void drain();

  std::vector<connection> connections;
  // The last frames that the stack sent, the newest first, for ICMP errors to quote.
  static constexpr size_t most_remembered = 64;
  std::deque<bytes> sent_frames;
  uint32_t dhcp_transaction = 0; // network byte order
  uint8_t our_ip6[16] = {};      // the stack's last link-local source address

  // --- net::device
  oblako::net::mac_address mac() const override { return {{2, 0, 0, 0, 0, number_}}; }
  uint16_t mtu() const override { return 1500; }
  bool link_up() const override { return true; }
  bool offers_transmit_checksum() const override { return number_ == 1; }
  bool offers_receive_checksum() const override { return true; }
  uint32_t transmit_gso_types() const override { return number_ == 1 ? 1u << 1 | 1u << 4 : 0; }
  bool receive(oblako::net::received_frame& out) override;
  void release_frame(oblako::net::received_frame& f) override;
  oblako::result<void> transmit(const oblako::net::segment* parts, size_t count,
                                const oblako::net::transmit_offload& offload, void (*done)(void*),
                                void* cookie) override;
  oblako::result<void> transmit_whole(uint8_t* frame, uint32_t length,
                                      const oblako::net::transmit_offload& o, void (*done)(void*),
                                      void* cookie) override;
  size_t reclaim_transmitted() override;
  void flush() override {}
  void set_notify(void (*)(void*), void*) override {}
  bool enable_interrupts() override { return true; }
  void disable_interrupts() override {}
  const char* name() const override { return "wire"; }
  bool broken() const override { return false; }
  statistics stats() const override { return {}; }

private:
  struct received {
    std::vector<bytes> pieces;
    size_t length;
    oblako::net::checksum_state checksum;
  };
  struct sent {
    void (*done)(void*);
    void* cookie;
  };
  void learn(const bytes& frame);
  void learn_tcp(const uint8_t* tcp, size_t length, bool ipv6);

  uint8_t number_;
  unsigned refuse_ = 0;
  size_t waiting_bytes_ = 0;
  std::deque<received*> waiting_;
  std::deque<sent> sent_;
};

} // namespace fuzz
