// hostname=NAME from the command line.
#include "core/boot/options.hh"
#include <stddef.h>

namespace oblako::boot {
namespace {

constexpr size_t longest_label = 63, longest_name = 64; // RFC 1123, 2.1; Linux's HOST_NAME_MAX

bool letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

// Labels of letters, digits and hyphens, with dots between them.
bool is_host_name(const char* name) {
  size_t label = 0, length = 0;
  for (; name[length]; ++length) {
    if (length == longest_name)
      return false;
    if (name[length] == '.') {
      if (label == 0)
        return false;
      label = 0;
    } else if (letter_or_digit(name[length]) || (name[length] == '-' && label != 0)) {
      if (++label > longest_label)
        return false;
    } else {
      return false;
    }
  }
  return label != 0;
}

} // namespace

const char* host_name() {
  const char* name = option("hostname");
  return name ? name : default_host_name;
}

} // namespace oblako::boot

extern "C" const char* oblako_check_host_name(const char* value) {
  return oblako::boot::is_host_name(value)
             ? nullptr
             : "is not a name of letters, digits, '-' and '.', at most 64 long";
}
