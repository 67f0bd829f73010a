// What the network stack asks of a network device, and what a device hands up. Frames are Ethernet.
// Buffers are page-frame memory in the direct map; the device driver owns the receive buffers and
// lends them out as received_frame until release() is called.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <stdint.h>

namespace oblako::net {

struct mac_address {
  uint8_t bytes[6];
};

// One contiguous piece of a frame to send or of a frame received.
struct segment {
  const void* data; // direct map
  uint32_t length;
};

enum class checksum_state : uint8_t {
  none,     // to be verified in software
  verified, // the device says the transport checksum is right
  partial,  // came from a local peer without one: data is right, the field is not filled in
};

// In front of the data of each piece lie `room_in_front` bytes that are the stack's until it gives
// the frame back.
struct received_frame {
  static constexpr size_t room_in_front = 96;

  void* cookie;      // handed back to release_frame()
  uint8_t* data;     // first byte of the Ethernet header
  uint32_t length;   // of the first piece; whole frame if segments == 1
  uint16_t segments; // > 1: mergeable buffers; the further pieces are in `more`
  checksum_state checksum;
  uint32_t held;    // bytes of memory that the frame keeps busy
  segment more[17]; // pieces after the first (a 64 kB frame in 4 kB buffers)
};

// VIRTIO_NET_HDR_GSO_*
constexpr uint8_t gso_none = 0, gso_tcp4 = 1, gso_tcp6 = 4;

// Transmit offload request, laid out as virtio_net_hdr (virtio 1.1, 5.1.6.2).
struct transmit_offload {
  bool needs_checksum = false;
  uint8_t gso_type = gso_none;
  uint16_t header_length = 0;
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;  // from the frame's first byte
  uint16_t checksum_offset = 0; // from checksum_start
  uint16_t unused = 0;
};
static_assert(sizeof(transmit_offload) == 12);

// All calls are made under the network stack's lock, by one thread at a time, except where said.
class device {
public:
  virtual mac_address mac() const = 0;
  virtual uint16_t mtu() const = 0;
  virtual bool link_up() const = 0;
  virtual bool offers_transmit_checksum() const = 0;
  virtual bool offers_receive_checksum() const = 0;
  virtual uint32_t transmit_gso_types() const = 0; // bit per gso_type the device accepts

  // Takes the next received frame, if any. False: the ring is empty.
  virtual bool receive(received_frame& out) = 0;
  // Gives the buffers of a frame back to the device; of `f` only the cookie is looked at.
  // Context: thread, network lock held.
  virtual void release_frame(received_frame& f) = 0;

  // Queues one frame. The segments must stay untouched until `done(cookie)` is called (from
  // reclaim_transmitted()). Errors: again (ring full: retry after reclaim), io (device broken).
  virtual result<void> transmit(const segment* parts, size_t count, const transmit_offload& offload,
                                void (*done)(void*), void* cookie) = 0;
  // The same for a frame in one piece. Until it is done, the frame_room bytes in front of it are
  // the device's. They are aligned to 8 bytes.
  virtual result<void> transmit_whole(uint8_t* frame, uint32_t length,
                                      const transmit_offload& offload, void (*done)(void*),
                                      void* cookie) = 0;
  static constexpr size_t frame_room = 32;
  // Calls done() for what the device has sent. Returns the number of free descriptors.
  virtual size_t reclaim_transmitted() = 0;
  // Tells the device about frames queued and buffers returned since the last call, if it wants to
  // know. Called once per batch.
  virtual void flush() = 0;

  // Interrupts. `notify` is called in interrupt context when there may be work. Interrupts start
  // off; enable_interrupts() returns false if work arrived meanwhile (poll again before sleeping).
  virtual void set_notify(void (*notify)(void*), void* context) = 0;
  virtual bool enable_interrupts() = 0;
  virtual void disable_interrupts() = 0;

  // Gives receive buffers that are only kept in stock back to the system.
  virtual void drop_spare_buffers() {}

  // True once after the host asked for gratuitous ARP (the VM has moved); the caller sends them.
  virtual bool take_announce_request() { return false; }

  virtual const char* name() const = 0;
  virtual bool broken() const = 0;

  struct statistics {
    uint64_t received_frames, received_bytes, sent_frames, sent_bytes, dropped, errors;
  };
  virtual statistics stats() const = 0;

protected:
  ~device() = default; // devices live as long as the VM
};

// Called by a driver when it has brought a device up; at most 8. Boot only.
result<void> attach(device& d);

} // namespace oblako::net
