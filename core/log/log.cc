// Formatting and the log's ring. Lines go to the console as they are written; the ring keeps the
// last of them for a crash report that could not be printed at the time.
#include "core/log/log.hh"
#include "core/log/console.hh"
#include <stdint.h>

namespace oblako::log {
namespace {

// Collects characters up to a limit and counts all of them.
class sink {
public:
  sink(char* to, size_t size) : to_(to), size_(size) {}
  void put(char c) {
    if (length_ + 1 < size_)
      to_[length_] = c;
    ++length_;
  }
  size_t finish() {
    if (size_)
      to_[length_ < size_ ? length_ : size_ - 1] = 0;
    return length_;
  }

private:
  char* to_;
  size_t size_;
  size_t length_ = 0;
};

struct field {
  bool zero_pad = false;
  bool left = false;
  int width = 0;
  int precision = -1;
};

void pad(sink& out, int count, char with) {
  while (count-- > 0)
    out.put(with);
}

void put_number(sink& out, uint64_t value, bool negative, unsigned base, field f) {
  char digits[24];
  int count = 0;
  do {
    digits[count++] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value);
  const int padding = f.width - count - negative;
  if (!f.zero_pad && !f.left)
    pad(out, padding, ' ');
  if (negative)
    out.put('-');
  if (f.zero_pad)
    pad(out, padding, '0');
  while (count)
    out.put(digits[--count]);
  if (f.left)
    pad(out, padding, ' ');
}

void put_string(sink& out, const char* s, field f) {
  if (!s)
    s = "(null)";
  int length = 0;
  while (s[length] && (f.precision < 0 || length < f.precision))
    ++length;
  if (!f.left)
    pad(out, f.width - length, ' ');
  for (int i = 0; i < length; i++)
    out.put(s[i]);
  if (f.left)
    pad(out, f.width - length, ' ');
}

int read_count(const char*& p, va_list& arguments) {
  if (*p == '*') {
    ++p;
    return va_arg(arguments, int);
  }
  int n = 0;
  while (*p >= '0' && *p <= '9')
    n = n * 10 + (*p++ - '0');
  return n;
}

void write_line(const char* prefix, const char* text, va_list arguments) {
  char line[512];
  size_t length = format(line, sizeof(line), "%s", prefix);
  length += vformat(line + length, sizeof(line) - length - 1, text, arguments);
  if (length > sizeof(line) - 2)
    length = sizeof(line) - 2;
  line[length++] = '\n';
  console_write(line, length);
}
} // namespace

size_t vformat(char* buffer, size_t size, const char* p, va_list outer) {
  va_list arguments;
  va_copy(arguments, outer);
  sink out(buffer, size);
  for (; *p; ++p) {
    if (*p != '%') {
      out.put(*p);
      continue;
    }
    ++p;
    field f;
    for (;; ++p) {
      if (*p == '0')
        f.zero_pad = true;
      else if (*p == '-')
        f.left = true;
      else
        break;
    }
    f.width = read_count(p, arguments);
    if (*p == '.') {
      ++p;
      f.precision = read_count(p, arguments);
    }
    bool wide = false;
    while (*p == 'l' || *p == 'z') {
      wide = true;
      ++p;
    }
    switch (*p) {
    case 'd':
    case 'i': {
      const int64_t v = wide ? va_arg(arguments, int64_t) : va_arg(arguments, int);
      put_number(out, v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v), v < 0, 10,
                 f);
      break;
    }
    case 'u':
    case 'x': {
      const uint64_t v = wide ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned);
      put_number(out, v, false, *p == 'u' ? 10 : 16, f);
      break;
    }
    case 'p':
      out.put('0');
      out.put('x');
      put_number(out, reinterpret_cast<uint64_t>(va_arg(arguments, void*)), false, 16, f);
      break;
    case 's':
      put_string(out, va_arg(arguments, const char*), f);
      break;
    case 'c':
      out.put(static_cast<char>(va_arg(arguments, int)));
      break;
    case '%':
      out.put('%');
      break;
    case 0:
      --p;
      break;
    default:
      out.put('%');
      out.put(*p);
    }
  }
  va_end(arguments);
  return out.finish();
}

size_t format(char* buffer, size_t size, const char* text, ...) {
  va_list arguments;
  va_start(arguments, text);
  const size_t n = vformat(buffer, size, text, arguments);
  va_end(arguments);
  return n;
}

void info(const char* text, ...) {
  va_list arguments;
  va_start(arguments, text);
  write_line("oblako: ", text, arguments);
  va_end(arguments);
}

void warning(const char* text, ...) {
  va_list arguments;
  va_start(arguments, text);
  write_line("oblako: warning: ", text, arguments);
  va_end(arguments);
}

void error(const char* text, ...) {
  va_list arguments;
  va_start(arguments, text);
  write_line("", text, arguments);
  va_end(arguments);
}

} // namespace oblako::log
