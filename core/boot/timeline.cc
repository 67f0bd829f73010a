// Stamps behind `main`, and printing. Formats by itself, so that an image which has no use for the
// log's formatting does not get it from here.
#include "core/boot/timeline.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/multiply_divide.hh"
#include "arch/x64/syscall_entry.hh"
#include "core/boot/options.hh"
#include "core/log/console.hh"
#include "core/time/clock.hh"
#include <stddef.h>

namespace oblako::time {
[[gnu::weak]] uint64_t monotonic_ns(); // an image without a clock prints ticks alone
}

namespace oblako::boot {

constinit uint64_t stage_ticks[stage_count];

namespace {

constexpr const char* names[] = {"entry",   "long_mode", "memory",  "sections",    "options",
                                 "threads", "devices",   "network", "application", "main",
                                 "listen",  "answer",    "end"};
static_assert(sizeof(names) / sizeof(names[0]) == stage_count);

// One line of the table, by hand; numbers end at a column.
class line {
public:
  [[gnu::cold, gnu::noinline]] void put(const char* text) {
    while (*text && length_ < sizeof(text_))
      text_[length_++] = *text++;
  }
  [[gnu::cold, gnu::noinline]] void put(uint64_t number, size_t column) {
    char digits[24];
    size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number);
    while (length_ + n < column)
      put(" ");
    while (n && length_ < sizeof(text_))
      text_[length_++] = digits[--n];
  }
  void write() const { log::console_write(text_, length_); }

private:
  char text_[96];
  size_t length_ = 0;
};

bool tracing() {
  return option("boot.trace") != nullptr;
}

// Both clocks count from the first instruction, so what one shows at the same moment as the other
// gives their ratio.
uint64_t microseconds(uint64_t ticks) {
  const uint64_t ns = time::monotonic_ns();
  return arch::multiply_divide(ticks, ns / 1000, arch::read_tsc() - stage_ticks[0]);
}

[[gnu::cold, gnu::noinline]] void print(unsigned index) {
  line l;
  l.put("oblako: boot: ");
  l.put(names[index]);
  const uint64_t ticks = stage_ticks[index] - stage_ticks[0];
  l.put(ticks, 40);
  l.put(" ticks");
  if (&time::monotonic_ns) {
    l.put(microseconds(ticks), 58);
    l.put(" us");
  }
  l.put("\n");
  l.write();
}

void print(stage s) {
  if (tracing())
    print(static_cast<unsigned>(s));
}
} // namespace

[[gnu::cold, gnu::noinline]] void first_listen() {
  OBLAKO_STAGE(listen);
  print(stage::listen);
}

[[gnu::cold, gnu::noinline]] void first_answer() {
  OBLAKO_STAGE(answer);
  print(stage::answer);
}

void reached_end() {
  OBLAKO_STAGE(end);
  print(stage::end);
}

} // namespace oblako::boot

// Called by the C library's start-up as the last thing before main.
OBLAKO_SYSCALL(oblako_reached_main, do_reached_main);
extern "C" void do_reached_main() {
  using namespace oblako::boot;
  OBLAKO_STAGE(main);
  if (!tracing())
    return;
  for (unsigned i = 0; i <= static_cast<unsigned>(stage::main); i++)
    print(i);
}
