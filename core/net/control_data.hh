// Control messages that travel with one message (cmsg(3)): read from what the application sends,
// written for what it receives. The bytes lie in kernel memory; the system call copies them.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <string.h>
#include <sys/socket.h>

namespace oblako::net {

class control_data : noncopyable {
public:
  control_data(uint8_t* buffer, size_t size) : data_(buffer), size_(size) {}

  // --- sending. `visit(level, type, data, bytes)` returns a result<void>; the first error ends it.
  // Errors: inval (a header's length is wrong), and the visitor's.
  template <class Visitor>
  result<void> for_each(Visitor visit) const {
    for (size_t at = 0; at + sizeof(cmsghdr) <= size_;) {
      cmsghdr h;
      memcpy(&h, data_ + at, sizeof h);
      if (h.cmsg_len < sizeof h || h.cmsg_len > size_ - at)
        return error::inval;
      auto good = visit(h.cmsg_level, h.cmsg_type, data_ + at + CMSG_LEN(0), h.cmsg_len - sizeof h);
      if (!good.ok())
        return good;
      at += CMSG_ALIGN(h.cmsg_len);
    }
    return {};
  }

  // --- receiving
  // How many bytes of data the next message can have.
  size_t room() const { return size_ - used_ < CMSG_LEN(0) ? 0 : size_ - used_ - CMSG_LEN(0); }
  // Adds one, cut to what fits, as Linux does.
  void add(int level, int type, const void* data, size_t bytes) {
    if (size_ - used_ < sizeof(cmsghdr)) {
      cut_ = true;
      return;
    }
    cut_ |= bytes > room();
    bytes = min_of(bytes, room());
    cmsghdr h = {};
    h.cmsg_len = static_cast<socklen_t>(CMSG_LEN(bytes));
    h.cmsg_level = level;
    h.cmsg_type = type;
    memcpy(data_ + used_, &h, sizeof h);
    memcpy(data_ + used_ + CMSG_LEN(0), data, bytes);
    used_ = min_of(used_ + CMSG_SPACE(bytes), size_);
  }
  size_t used() const { return used_; }
  // Something did not fit: MSG_CTRUNC.
  bool cut() const { return cut_; }
  void note_cut() { cut_ = true; }

private:
  uint8_t* const data_;
  const size_t size_;
  size_t used_ = 0;
  bool cut_ = false;
};

} // namespace oblako::net
