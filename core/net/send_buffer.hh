// Data on its way out of a stream socket: copied once from the application, then referred to by the
// segments that carry it until the last of them is acknowledged and the device is done with it.
#pragma once

#include "core/base/result.hh"
#include <stddef.h>
#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// Reference-counted; the count and all uses are guarded by the stack's lock.
class send_buffer {
public:
  // Room for up to `wanted` bytes, less if memory is fragmented (but at least one page less the
  // header). The caller owns the first reference. Errors: nomem.
  static result<send_buffer*> make(size_t wanted);
  void drop_reference();

  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t capacity() const { return capacity_; }

  // Queues data()[0, bytes) on the connection; every segment takes a reference. False: lwIP had no
  // memory, nothing was queued.
  bool queue(tcp_pcb* connection, uint16_t bytes, uint8_t write_flags);

  void add_reference() { ++references_; }

private:
  explicit send_buffer(uint32_t capacity) : capacity_(capacity) {}
  uint32_t references_ = 1;
  uint32_t capacity_;
};
static_assert(sizeof(send_buffer) == 8);

} // namespace oblako::net
