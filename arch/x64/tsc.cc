// Where time comes from. The TSC counts; its frequency is told by the hypervisor (a CPUID leaf, or
// KVM's pvclock) or by the processor, and otherwise measured against the PIT while the machine runs
// (core/time/clock.cc). The hypervisor goes first: it may run the TSC at another rate than the
// processor's own CPUID leaves, which it passes on, say.
// Spec: Intel SDM vol. 2 CPUID 15H/16H; Linux Documentation/virt/kvm/x86/msr.rst (pvclock);
// Intel 8254; Motorola MC146818 (RTC).
#include "arch/x64/tsc.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "arch/x64/msr.hh"

namespace oblako::arch {
namespace {

constexpr uint32_t kvm_signature = 0x4b4d564b; // "KVMK"
constexpr uint32_t hypervisor_leaf = 0x40000000, kvm_features_leaf = 0x40000001,
                   timing_leaf = 0x40000010;
constexpr uint32_t kvm_has_clocksource = 1u << 0, kvm_has_clocksource2 = 1u << 3;
constexpr uint32_t crystal_leaf = 0x15, base_frequency_leaf = 0x16;
constexpr uintptr_t kernel_base = 0xffffffffc0000000;

struct pvclock_time {
  uint32_t version;
  uint32_t pad0;
  uint64_t tsc_timestamp;
  uint64_t system_time;
  uint32_t tsc_to_system_mul;
  int8_t tsc_shift;
  uint8_t flags;
  uint8_t pad[2];
};
static_assert(sizeof(pvclock_time) == 32);

struct pvclock_wall {
  uint32_t version;
  uint32_t seconds;
  uint32_t nanoseconds;
};

alignas(64) volatile pvclock_time system_clock;
alignas(64) volatile pvclock_wall wall_clock;

// The kernel's image is physically contiguous behind its base.
uint64_t image_physical(const volatile void* p) {
  return reinterpret_cast<uintptr_t>(p) - kernel_base;
}

struct kvm_clock {
  uint32_t system_time_msr, wall_clock_msr; // 0: there is none
};

kvm_clock find_kvm_clock() {
  if (!features.hypervisor || cpuid(hypervisor_leaf).ebx != kvm_signature)
    return {};
  const uint32_t has = cpuid(kvm_features_leaf).eax;
  if (has & kvm_has_clocksource2)
    return {msr_kvm_system_time, msr_kvm_wall_clock};
  if (has & kvm_has_clocksource)
    return {msr_kvm_old_system_time, msr_kvm_old_wall_clock};
  return {};
}

uint64_t hypervisor_hz() {
  if (!features.hypervisor)
    return 0;
  const uint32_t highest = cpuid(hypervisor_leaf).eax;
  if (highest < timing_leaf || highest >= timing_leaf + 0x1000)
    return 0;
  return uint64_t{cpuid(timing_leaf).eax} * 1000;
}

uint64_t pvclock_hz(const kvm_clock& clock) {
  write_msr(clock.system_time_msr, image_physical(&system_clock) | 1);
  const uint32_t mul = system_clock.tsc_to_system_mul;
  if (!mul)
    return 0;
  // ns = (ticks << shift) * mul >> 32, so hz = 10^9 * 2^32 / mul >> shift.
  const uint64_t hz = (uint64_t{1'000'000'000} << 32) / mul;
  const int shift = system_clock.tsc_shift;
  return shift < 0 ? hz << -shift : hz >> shift;
}

// Exact, where the processor knows the crystal.
uint64_t crystal_hz() {
  if (cpuid(0).eax < crystal_leaf)
    return 0;
  const auto r = cpuid(crystal_leaf); // eax/ebx: denominator/numerator, ecx: crystal
  return r.eax && r.ebx && r.ecx ? uint64_t{r.ecx} * r.ebx / r.eax : 0;
}

// The processor's nominal frequency is the TSC's to a thousandth or so; else a number to begin
// with.
uint64_t first_guess() {
  constexpr uint64_t any_hz = 2'500'000'000;
  const uint64_t mhz = cpuid(0).eax >= base_frequency_leaf ? cpuid(base_frequency_leaf).eax : 0;
  return mhz & 0xffff ? (mhz & 0xffff) * 1'000'000 : any_hz;
}

uint8_t rtc_register(uint8_t index) {
  out8(0x70, index);
  return in8(0x71);
}

struct rtc_time {
  uint8_t second, minute, hour, day, month, year;
};
rtc_time read_rtc() {
  return {rtc_register(0), rtc_register(2), rtc_register(4),
          rtc_register(7), rtc_register(8), rtc_register(9)};
}

uint64_t days_from_civil(uint32_t year, uint32_t month, uint32_t day) {
  // Years counted from March, so that the leap day is a year's last.
  year -= month <= 2;
  const uint32_t era = year / 400, of_era = year % 400;
  const uint32_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const uint32_t day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
  return uint64_t{era} * 146097 + day_of_era - 719468;
}

result<uint64_t> rtc_ns(unsigned tries) {
  constexpr uint8_t update_in_progress = 0x80, binary_mode = 0x04, hours_24 = 0x02;
  if (rtc_register(0x0d) == 0xff)
    return error::nodev;
  // What was read outside an update, in one and the same second, is consistent. An update takes
  // 2 ms.
  rtc_time t{};
  for (; tries; --tries) {
    if (rtc_register(0x0a) & update_in_progress)
      continue;
    t = read_rtc();
    if (rtc_register(0) == t.second)
      break;
  }
  if (!tries)
    return error::again;
  if (t.month == 0)
    return error::nodev;
  const uint8_t mode = rtc_register(0x0b);
  const auto plain = [mode](uint8_t v) -> uint32_t {
    return mode & binary_mode ? v : (v >> 4) * 10u + (v & 15u);
  };
  uint32_t hour = plain(t.hour & 0x7f);
  if (!(mode & hours_24))
    hour = hour % 12 + (t.hour & 0x80 ? 12 : 0);
  const uint64_t days = days_from_civil(2000 + plain(t.year), plain(t.month), plain(t.day));
  const uint64_t seconds = ((days * 24 + hour) * 60 + plain(t.minute)) * 60 + plain(t.second);
  return seconds * 1'000'000'000;
}

// PIT channel 0 as a rate generator over its full 16 bits. Interrupt 0 stays masked.
void start_pit() {
  out8(0x43, 0x34);
  out8(0x40, 0);
  out8(0x40, 0);
}
uint16_t read_pit() {
  out8(0x43, 0x00); // latch
  const uint8_t low = in8(0x40);
  return static_cast<uint16_t>(low | in8(0x40) << 8);
}

constexpr reference_clock pit{.hz = 1'193'182, .mask = 0xffff, .read = [] {
                                return static_cast<uint64_t>(0xffff - read_pit());
                              }};
} // namespace

tsc_frequency tsc_frequency_at_boot() {
  if (const uint64_t hz = hypervisor_hz())
    return {hz, tsc_source::cpuid};
  if (const kvm_clock clock = find_kvm_clock(); clock.system_time_msr)
    if (const uint64_t hz = pvclock_hz(clock))
      return {hz, tsc_source::kvmclock};
  if (const uint64_t hz = crystal_hz())
    return {hz, tsc_source::cpuid};
  return {first_guess(), tsc_source::reference};
}

const reference_clock* start_tsc_reference() {
  start_pit();
  return &pit;
}

result<wall_reading> read_wall_clock(unsigned tries) {
  if (const kvm_clock clock = find_kvm_clock(); clock.wall_clock_msr) {
    write_msr(clock.wall_clock_msr, image_physical(&wall_clock));
    (void)pvclock_hz(clock); // both anew: they may have moved against each other
    if (wall_clock.seconds && system_clock.tsc_to_system_mul) {
      // The wall clock is that of the host's clock zero; system_time has run since then.
      const uint64_t ticks = read_tsc() - system_clock.tsc_timestamp;
      const int shift = system_clock.tsc_shift;
      const uint64_t shifted = shift < 0 ? ticks >> -shift : ticks << shift;
      const auto since = static_cast<uint64_t>(
          static_cast<unsigned __int128>(shifted) * system_clock.tsc_to_system_mul >> 32);
      return wall_reading{uint64_t{wall_clock.seconds} * 1'000'000'000 + wall_clock.nanoseconds +
                              system_clock.system_time + since,
                          1};
    }
  }
  return wall_reading{TRY(rtc_ns(tries)), 1'000'000'000};
}

} // namespace oblako::arch
