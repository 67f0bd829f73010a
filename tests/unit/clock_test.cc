// The clocks over a TSC whose frequency somebody tells, or nobody: then it is measured against the
// PIT as time goes by.
// sources: arch/x64/cpu_features.cc arch/x64/tsc.cc
#include "core/time/clock.cc" // included, so that each case starts with a clock that has not run
#include "tests/unit/fake_processor.hh"
#include <string>

constinit uint64_t oblako::boot::stage_ticks[stage_count];

namespace {
std::string clock_option;
bool has_clock_option;
unsigned warnings;
} // namespace

const char* oblako::boot::option(const char* name) {
  return has_clock_option && std::string(name) == "clock" ? clock_option.c_str() : nullptr;
}
void oblako::log::warning(const char*, ...) {
  ++warnings;
}

namespace {

using namespace oblako;
using namespace oblako::test;

class clocks : public testing::Test {
protected:
  clocks() {
    time::line = {};
    time::measurement = {};
    time::wall_offset = 0;
    time::next_wall_look = 0;
    time::jumps = 0;
    has_clock_option = false;
    warnings = 0;
    cpu.tsc = 5'000'000;
    boot::stage_ticks[static_cast<unsigned>(boot::stage::entry)] = cpu.tsc;
    cpu.detect();
  }
  // Looks at the clock every 10 ms of real time, as a busy guest does. Returns the clock's ns for
  // each real one over the last tenth.
  double run(double seconds) {
    const int steps = static_cast<int>(seconds * 100);
    uint64_t last = time::monotonic_ns(), tenth_ns = 0, tenth_tsc = 0;
    for (int i = 0; i < steps; ++i) {
      cpu.tsc += cpu.tsc_hz / 100;
      const uint64_t now = time::monotonic_ns();
      EXPECT_GE(now, last) << "never back";
      last = now;
      if (i == steps * 9 / 10) {
        tenth_ns = now;
        tenth_tsc = cpu.tsc;
      }
    }
    const double real = static_cast<double>(cpu.tsc - tenth_tsc) / static_cast<double>(cpu.tsc_hz);
    return static_cast<double>(last - tenth_ns) / real / 1e9;
  }
  fake_processor cpu;
};

TEST_F(clocks, a_told_frequency_is_exact_and_needs_no_port) {
  cpu.hypervisor("TCGTCGTCGTCG", 0x40000010);
  cpu.leaves[0x40000010] = {2'000'000, 0, 0, 0};
  cpu.detect();
  EXPECT_NEAR(run(10), 1.0, 1e-9);
  EXPECT_EQ(cpu.port_accesses, 0u);
}

TEST_F(clocks, time_zero_is_the_first_instruction) {
  cpu.leaf(0x15, {1, 80, 25'000'000, 0}); // 2 GHz
  cpu.tsc += 2'000'000;
  EXPECT_EQ(time::monotonic_ns(), 1'000'000u);
}

TEST_F(clocks, an_untold_frequency_is_measured) {
  for (const uint64_t hz : {1'000'000'000ul, 2'000'000'000ul, 3'141'592'653ul, 5'000'000'000ul}) {
    time::line = {};
    time::measurement = {};
    cpu.tsc_hz = hz;
    EXPECT_NEAR(run(1), 1.0, 1e-4) << hz;
    EXPECT_NEAR(run(60), 1.0, 1e-6) << hz;
  }
}

TEST_F(clocks, measuring_ends) {
  EXPECT_NEAR(run(60), 1.0, 1e-6);
  const uint64_t before = cpu.port_accesses;
  EXPECT_LT(before, 200u) << "each look costs three";
  run(60);
  EXPECT_EQ(cpu.port_accesses, before);
}

TEST_F(clocks, without_a_pit_the_clock_runs_by_the_first_guess) {
  cpu.has_pit = false;
  for (const uint32_t reads : {~0u, 0u}) {
    time::line = {};
    time::measurement = {};
    cpu.empty_port = reads;
    EXPECT_NEAR(run(2), 2.0 / 2.5, 1e-6);
  }
}

TEST_F(clocks, the_hosts_time_on_the_command_line) {
  cpu.leaf(0x15, {1, 80, 25'000'000, 0});
  has_clock_option = true;
  clock_option = "1700000000.25";
  cpu.tsc += 2'000'000'000; // a second after the first instruction
  EXPECT_EQ(time::wall_ns(), 1'700'000'001'250'000'000u);
  EXPECT_EQ(warnings, 0u);
}

// The RTC shows whole seconds. Time passes for it and, unless the machine is stopped, for the TSC.
class stopped_machine : public clocks {
protected:
  stopped_machine() {
    cpu.leaf(0x15, {1, 80, 25'000'000, 0}); // 2 GHz
    show();
  }
  void show() {
    const auto s = static_cast<unsigned>(real_ms_ / 1000 % 60);
    const auto m = static_cast<unsigned>(real_ms_ / 60'000 % 60);
    cpu.rtc = {{0, static_cast<uint8_t>(s)},
               {2, static_cast<uint8_t>(m)},
               {4, 12},
               {7, 1},
               {8, 12},
               {9, 26},
               {0x0a, 0x26},
               {0x0b, 0x06},
               {0x0d, 0x80}};
  }
  // Reads the clock every 90 ms. How far the wall clock is behind, at the end.
  double pass(double seconds, double tsc_rate = 1) {
    for (const uint64_t end = real_ms_ + static_cast<uint64_t>(seconds * 1000); real_ms_ < end;) {
      real_ms_ += 90;
      cpu.tsc += static_cast<uint64_t>(180'000'000 * tsc_rate);
      show();
      const uint64_t wall = time::wall_ns(), monotonic = time::monotonic_ns();
      EXPECT_GE(wall, last_wall_) << "never back";
      EXPECT_LT(monotonic - last_monotonic_, 100'000'000u) << "never a jump";
      last_wall_ = wall;
      last_monotonic_ = monotonic;
      if (!began_)
        began_ = static_cast<double>(wall) / 1e9 - static_cast<double>(real_ms_) / 1e3;
    }
    return began_ + static_cast<double>(real_ms_) / 1e3 - static_cast<double>(last_wall_) / 1e9;
  }
  void stop(double seconds) { real_ms_ += static_cast<uint64_t>(seconds * 1000); }

  uint64_t real_ms_ = 300;
  uint64_t last_wall_ = 0, last_monotonic_ = 0;
  double began_ = 0;
};

TEST_F(stopped_machine, its_wall_clock_steps_to_where_the_machines_is) {
  EXPECT_NEAR(pass(20), 0, 1e-3);
  EXPECT_EQ(time::wall_clock_jumps(), 0u);
  stop(8);
  EXPECT_NEAR(pass(5), 0, 0.6);
  EXPECT_GE(time::wall_clock_jumps(), 1u);
  stop(1000);
  EXPECT_NEAR(pass(5), 0, 0.6);
  for (int i = 0; i < 20; ++i) {
    stop(0.4);
    (void)pass(2);
  }
  EXPECT_NEAR(pass(5), 0, 0.6) << "short stops add up";
}

TEST_F(stopped_machine, a_clock_that_was_set_goes_on_from_there) {
  (void)pass(3);
  const uint64_t before = time::wall_ns();
  time::set_wall_ns(2'000'000'000'000'000'000);
  EXPECT_EQ(time::wall_clock_jumps(), 0u);
  began_ += 2e9 - static_cast<double>(before) / 1e9;
  stop(60);
  EXPECT_NEAR(pass(5), 0, 0.6);
  time::set_wall_ns(before); // back
  last_wall_ = 0;
  const uint64_t jumps = time::wall_clock_jumps();
  (void)pass(10);
  EXPECT_EQ(time::wall_clock_jumps(), jumps);
}

TEST_F(stopped_machine, a_tsc_that_drifts_is_no_jump) {
  (void)pass(1000, 1.0001); // 100 millionths too fast: never back
  EXPECT_EQ(time::wall_clock_jumps(), 0u);
  (void)pass(1000, 0.9999); // too slow: followed by the second, not by the millisecond
  EXPECT_LE(time::wall_clock_jumps(), 1u);
}

TEST_F(stopped_machine, an_rtc_that_cannot_be_read_now_is_read_later) {
  (void)pass(3);
  stop(9);
  real_ms_ += 90;
  cpu.tsc += 4'000'000'000;
  show();
  cpu.rtc[0x0a] = 0x80; // in an update
  (void)time::wall_ns();
  EXPECT_EQ(time::wall_clock_jumps(), 0u);
  last_monotonic_ = time::monotonic_ns();
  (void)pass(0.2);
  EXPECT_EQ(time::wall_clock_jumps(), 1u);
}

TEST_F(clocks, only_numbers_of_seconds_are_taken) {
  for (const char* good : {"0", "1700000000", "1700000000.", "1700000000.1234567891234"})
    EXPECT_EQ(oblako_check_clock(good), nullptr) << good;
  for (const char* bad : {"", "noon", ".5", "-1", "1x", "1.5x", "1.1234567891x", "1,5",
                          "99999999999", "18446744073709551616"})
    EXPECT_NE(oblako_check_clock(bad), nullptr) << bad;
}

TEST_F(clocks, a_clock_that_is_no_number_is_not_used) {
  has_clock_option = true;
  clock_option = "noon";
  EXPECT_LT(time::wall_ns(), 1'000'000'000'000u) << "1970: there is no RTC either";
  EXPECT_EQ(warnings, 1u);
}

} // namespace
