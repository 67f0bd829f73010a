// A fuzzer's bytes, read as the fields of a script's words. What is missing at the end is zero.
#pragma once

#include "tests/fuzz/fake_wire.hh"
#include <algorithm>

namespace fuzz {

class script {
public:
  script(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool ended() const { return at_ == end_; }
  const uint8_t* at() const { return at_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  void skip(size_t count) { at_ += std::min(count, left()); }
  uint8_t byte() { return ended() ? uint8_t{0} : *at_++; }
  uint16_t word() {
    const uint8_t high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  uint32_t long_word() {
    const uint16_t high = word();
    return uint32_t{high} << 16 | word();
  }
  int16_t offset() { return static_cast<int16_t>(word()); }
  bytes some(size_t count) {
    count = std::min(count, left());
    bytes b(at_, at_ + count);
    at_ += count;
    return b;
  }

private:
  const uint8_t *at_, *end_;
};

} // namespace fuzz
