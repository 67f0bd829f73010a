// Reading ACPI table bytes within bounds. Private to arch/x64.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::acpi {

// A table or structure with bounds. Reads past the end give 0, which every caller takes as absent.
class view {
public:
  view() = default;
  view(const uint8_t* data, size_t bytes) : data_(data), bytes_(bytes) {}
  bool empty() const { return bytes_ == 0; }
  size_t size() const { return bytes_; }
  const uint8_t* data() const { return data_; }

  template <class T>
  T get(size_t offset) const {
    if (offset > bytes_ || sizeof(T) > bytes_ - offset)
      return 0;
    T value = 0;
    for (size_t i = sizeof(T); i-- > 0;)
      value = static_cast<T>(static_cast<uint64_t>(value) << 8 | data_[offset + i]);
    return value;
  }

private:
  const uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

constexpr uint32_t signature(const char (&text)[5]) {
  return uint32_t{uint8_t(text[0])} | uint32_t{uint8_t(text[1])} << 8 |
         uint32_t{uint8_t(text[2])} << 16 | uint32_t{uint8_t(text[3])} << 24;
}

} // namespace oblako::acpi
