// The clocks over the TSC. Where nobody tells the TSC's frequency it is measured against a
// reference counter while the machine runs: first after a millisecond, then at growing distances,
// each measurement over the whole time since the first. No loop waits for it.
//
// Invariants: monotonic_ns() never steps back (a new frequency starts from the time shown at that
// moment); `line` is only replaced with interrupts off; readers on the same CPU therefore see it
// whole. With a second CPU it becomes a sequence-counted pair.
//
// The wall clock is the monotonic one and an offset. Whoever reads it has it compared with the
// machine's clock once a second: that is how a stop of the whole machine is noticed, at which the
// TSC stands still.
#include "core/time/clock.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/multiply_divide.hh"
#include "arch/x64/tsc.hh"
#include "core/base/types.hh"
#include "core/boot/options.hh"
#include "core/boot/timeline.hh"
#include "core/log/log.hh"

namespace oblako::time {
namespace {

// ns = base_ns + (tsc - base_tsc) * multiplier / 2^32
struct tsc_line {
  uint64_t base_tsc = 0;
  uint64_t base_ns = 0;
  uint64_t multiplier = 0; // 0: not started
};
constinit tsc_line line;

struct tsc_measurement {
  const arch::reference_clock* reference = nullptr;
  uint64_t first_tsc = 0;
  uint64_t last_reading = 0; // of the counter, masked
  uint64_t last_tsc = 0;
  uint64_t counted = 0;  // reference ticks since first_tsc
  uint64_t next_tsc = 0; // when to look again
};
constinit tsc_measurement measurement;

constinit uint64_t wall_offset = 0; // wall = monotonic + wall_offset
// When wall_ns() next looks at the machine's clock. Units: monotonic ns. 0: the wall clock has not
// been started; no_deadline: the machine has none.
constinit uint64_t next_wall_look = 0;
constexpr uint64_t wall_look_period = ns_per_s;
constinit uint64_t jumps = 0;

// How far the machine's clock is ahead of ours (modulo 2^64; the application or clock= may have set
// ours to anything): at least `least`, less than `least` + `width`. Each look narrows it, but not
// below what the TSC may drift in hours, since drift is nobody's jump.
struct wall_lead {
  uint64_t least;
  uint64_t width;
};
constinit wall_lead lead;
constexpr uint64_t narrowest_lead = ns_per_s / 2;

// 10 seconds of a 5 GHz TSC: then the measurement is good to a millionth.
constexpr uint64_t measuring_ticks = 50'000'000'000;
// A reading that took longer than this was interrupted by the host and says little.
constexpr uint64_t trusted_read_ticks = 200'000;

uint64_t multiplier_for(uint64_t hz) {
  return arch::multiply_divide(ns_per_s, uint64_t{1} << 32, hz);
}

uint64_t at(const tsc_line& l, uint64_t tsc) {
  return l.base_ns + static_cast<uint64_t>(
                         static_cast<unsigned __int128>(tsc - l.base_tsc) * l.multiplier >> 32);
}

void start_measuring() {
  measurement.reference = arch::start_tsc_reference();
  measurement.last_reading = measurement.reference->read();
  measurement.first_tsc = measurement.last_tsc = arch::read_tsc();
  measurement.next_tsc = measurement.first_tsc + 2'500'000; // about a millisecond
}

[[gnu::noinline]] void start() {
  arch::clear_direction_flag();
  const arch::interrupts_off off;
  if (line.multiplier)
    return;
  const auto frequency = arch::tsc_frequency_at_boot();
  line = {boot::stage_ticks[static_cast<unsigned>(boot::stage::entry)], 0,
          multiplier_for(frequency.hz)};
  if (frequency.source == arch::tsc_source::reference)
    start_measuring();
}

[[gnu::noinline]] void refine() {
  const arch::interrupts_off off;
  auto& m = measurement;
  const auto& r = *m.reference;
  const uint64_t before = arch::read_tsc();
  const uint64_t reading = r.read();
  const uint64_t now = arch::read_tsc();
  if (now - before > trusted_read_ticks) {
    m.next_tsc = now + trusted_read_ticks;
    return;
  }
  // Whole turns of the counter since the last look, from what the present estimate expects.
  const uint64_t turn = r.mask + 1;
  const uint64_t part = (reading - m.last_reading) & r.mask;
  const uint64_t expected =
      arch::multiply_divide(at(line, now) - at(line, m.last_tsc), r.hz, ns_per_s);
  const uint64_t turns = expected > part ? (expected - part + turn / 2) / turn : 0;
  m.counted += turns * turn + part;
  m.last_reading = reading;
  m.last_tsc = now;

  if (m.counted == 0) { // a counter that stands still
    m.next_tsc = now + trusted_read_ticks;
    return;
  }
  const uint64_t ticks = now - m.first_tsc;
  const uint64_t hz = arch::multiply_divide(ticks, r.hz, m.counted);
  line = {now, at(line, now), multiplier_for(hz)};
  // Four times as far from the first look each time: the error is a microsecond over the whole
  // distance, and a look costs three exits.
  m.next_tsc = ticks > measuring_ticks ? ~uint64_t{0} : now + 3 * ticks;
}

// clock=SECONDS[.FRACTION], as `make run` passes it: the host's time when it started the VM.
bool parse_clock(const char* text, uint64_t& ns) {
  constexpr uint64_t last = uint64_t{1} << 33; // seconds; some 270 years
  uint64_t seconds = 0;
  const char* p = text;
  for (; *p >= '0' && *p <= '9'; ++p) {
    seconds = seconds * 10 + static_cast<uint64_t>(*p - '0');
    if (seconds > last)
      return false;
  }
  if (p == text)
    return false;
  uint64_t fraction = 0, scale = ns_per_s;
  if (*p == '.')
    for (++p; *p >= '0' && *p <= '9'; ++p) {
      scale /= 10; // 0 behind the ninth digit
      fraction += static_cast<uint64_t>(*p - '0') * scale;
    }
  ns = seconds * ns_per_s + fraction;
  return *p == 0;
}

void start_wall(uint64_t now) {
  constexpr unsigned tries = 10'000;
  auto machine = arch::read_wall_clock(tries);
  uint64_t ns = 0;
  const char* given = boot::option("clock");
  if (given && parse_clock(given, ns))
    wall_offset = ns; // the host's time at our first instruction
  else if (machine.ok())
    wall_offset = machine->ns - now;
  else
    log::warning("no clock source for the time of day: it starts in 1970; pass clock=");
  if (!machine.ok()) {
    next_wall_look = no_deadline;
    return;
  }
  lead = {machine->ns - (now + wall_offset), max_of(machine->resolution, narrowest_lead)};
  next_wall_look = now + wall_look_period;
}

// A machine that was stopped, or moved to another host, has a TSC that stood still meanwhile; its
// clock went on, or was set. Then ours is stepped forward. It is never stepped back: the lead moves
// with a TSC that runs too fast.
void compare_wall(uint64_t now) {
  auto machine = arch::read_wall_clock(1);
  if (!machine.ok()) {
    next_wall_look = now + 10 * ns_per_ms; // beyond the RTC's update
    return;
  }
  next_wall_look = now + wall_look_period;
  const uint64_t seen = machine->ns - (now + wall_offset) - lead.least; // from `least`, signed
  if (static_cast<int64_t>(seen) >= static_cast<int64_t>(lead.width)) {
    wall_offset += seen;
    ++jumps;
    return;
  }
  const int64_t from = max_of(static_cast<int64_t>(seen), int64_t{0});
  const int64_t to =
      min_of(static_cast<int64_t>(lead.width), static_cast<int64_t>(seen + machine->resolution));
  if (to - from >= static_cast<int64_t>(narrowest_lead))
    lead = {lead.least + static_cast<uint64_t>(from), static_cast<uint64_t>(to - from)};
  else if (to < 0)
    lead.least += static_cast<uint64_t>(to);
}

[[gnu::noinline]] void look_at_wall() {
  arch::clear_direction_flag();
  const arch::interrupts_off off;
  const uint64_t now = monotonic_ns();
  if (!next_wall_look)
    start_wall(now);
  else if (now >= next_wall_look)
    compare_wall(now);
}
} // namespace

uint64_t monotonic_ns() {
  if (!line.multiplier) [[unlikely]]
    start();
  const uint64_t tsc = arch::read_tsc();
  if (measurement.reference && tsc >= measurement.next_tsc) [[unlikely]] {
    refine();
    return at(line, arch::read_tsc());
  }
  return at(line, tsc);
}

uint64_t wall_ns() {
  const uint64_t now = monotonic_ns();
  if (now >= next_wall_look) [[unlikely]] {
    look_at_wall();
    return monotonic_ns() + wall_offset;
  }
  return now + wall_offset;
}

uint64_t wall_clock_jumps() {
  look_at_wall();
  return jumps;
}

void set_wall_ns(uint64_t ns) {
  const arch::interrupts_off off;
  const uint64_t step = ns - wall_ns();
  wall_offset += step;
  lead.least -= step;
}

} // namespace oblako::time

extern "C" const char* oblako_check_clock(const char* value) {
  uint64_t ns;
  return oblako::time::parse_clock(value, ns) ? nullptr : "is not a number of seconds since 1970";
}
