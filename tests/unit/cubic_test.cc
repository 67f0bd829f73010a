// sources: core/net/cubic.cc
// CUBIC against the formulas of RFC 9438, and its windows against the RFC's tables.
#include "core/net/cubic.hh"

#include <cmath>
#include <gtest/gtest.h>

namespace oblako::net {
namespace {

constexpr uint32_t mss = 1460;
constexpr double c_constant = 0.4, beta = 0.7;

// 4.2, figure 2, in segments and seconds.
double k_of(double below) {
  return std::cbrt(below / c_constant);
}

TEST(cubic, the_time_to_w_max_is_the_cube_root) {
  for (uint32_t segments : {1u, 3u, 10u, 100u, 12'345u, 1'000'000u})
    EXPECT_NEAR(cubic_k(segments * mss, mss) / 1000.0, k_of(segments), 0.002) << segments;
  EXPECT_EQ(cubic_k(0, mss), 0u);
  EXPECT_NEAR(cubic_k(0x7fffffff, 64) / 1000.0, k_of(0x7fffffff / 64.0), 0.002);
}

TEST(cubic, the_window_is_the_cubic_function_of_time) {
  tcp_cubic s{};
  s.w_max = 1000 * mss;
  s.k = cubic_k(300 * mss, mss);
  for (uint32_t t = 0; t < 40'000; t += 77) {
    const double w = 1000 + c_constant * std::pow(t / 1000.0 - k_of(300), 3);
    EXPECT_NEAR(cubic_window(s, t, mss) / double{mss}, w, 1 + w / 500) << t;
  }
  EXPECT_EQ(cubic_window(s, ~0u, mss), 0x7fffffffu); // and does not wrap around
  s.k = 0x7fffffff;
  EXPECT_EQ(cubic_window(s, 0, mss), 0u);
}

TEST(cubic, a_loss_reduces_to_seven_tenths_of_the_flight) {
  tcp_cubic s{};
  EXPECT_EQ(cubic_reduced(s, 100'000, 100'000, mss), 70'000u);
  EXPECT_EQ(s.w_max, 100'000u);
  EXPECT_EQ(cubic_reduced(s, 120'000, 50'000, mss), 35'000u); // above w_max: no convergence
  EXPECT_EQ(s.w_max, 120'000u);
  EXPECT_EQ(cubic_reduced(s, 1000, 1000, mss), 2 * mss);
}

TEST(cubic, below_the_old_maximum_others_get_room) {
  tcp_cubic s{};
  cubic_reduced(s, 100'000, 100'000, mss);
  cubic_reduced(s, 80'000, 80'000, mss);
  EXPECT_EQ(s.w_max, 68'000u); // 4.7: (1 + beta) / 2
  cubic_undo(s);
  EXPECT_EQ(s.w_max, 100'000u);
}

struct connection {
  tcp_cubic s{};
  uint32_t counted = 0, window, prior, now = 5000;
  cubic_path path;
  connection(uint32_t segments, uint32_t round_trip)
      : window(segments * mss), prior(window), path{mss, round_trip} {}
  void acknowledge(uint32_t octets) {
    window = cubic_grown(s, counted, window, octets, path, prior, now);
  }
  void lose() {
    prior = window;
    window = cubic_reduced(s, window, window, mss);
  }
  // A round trip in which the whole window is acknowledged, a segment at a time.
  void round_trip() {
    const uint32_t segments = window / mss;
    const uint32_t end = now + path.round_trip;
    for (uint32_t n = 0; n < segments; ++n) {
      now = end - path.round_trip + path.round_trip * n / segments;
      acknowledge(mss);
    }
    now = end;
  }
};

TEST(cubic, grows_back_in_k_is_flat_there_and_grows_on) {
  connection c(1000, 100);
  c.lose();
  EXPECT_EQ(c.window, 700u * mss);
  const uint32_t start = c.now, k = cubic_k(300 * mss, mss);
  uint32_t at_k = 0, before_k = 0, after_k = 0;
  while (c.now < start + 2 * k) {
    c.round_trip();
    if (c.now - start <= k - 1000)
      before_k = c.window;
    if (c.now - start <= k)
      at_k = c.window;
    if (c.now - start <= k + 1000)
      after_k = c.window;
  }
  EXPECT_NEAR(at_k / mss, 1000, 3);
  EXPECT_LT((at_k - before_k) / mss, 2u); // concave: slow near w_max
  EXPECT_LT((after_k - at_k) / mss, 2u);
  EXPECT_NEAR(c.window / mss, 1300, 20); // convex: as far above as it was below
}

TEST(cubic, after_a_time_out_it_begins_at_its_window) {
  connection c(1000, 100);
  c.lose();
  cubic_timed_out(c.s);
  c.window = 400 * mss;
  c.acknowledge(mss);
  EXPECT_EQ(c.s.k, 0u);
  EXPECT_EQ(c.s.w_max, 400u * mss);
  EXPECT_LT(c.window, 401u * mss);
}

TEST(cubic, never_more_than_half_a_window_in_a_round_trip) {
  connection c(10, 100);
  c.acknowledge(mss);
  c.now += 60'000; // far beyond: the function is at thousands of segments
  const uint32_t before = c.window;
  c.acknowledge(c.window);
  EXPECT_EQ(c.window, before + before / 2);
}

TEST(cubic, a_pause_is_not_made_up_for) {
  connection c(100, 100);
  c.lose();
  c.round_trip();
  const uint32_t before = c.window;
  cubic_pause(c.s);
  c.now += 3'600'000;
  c.acknowledge(mss);
  EXPECT_LE(c.window, before + mss);
}

// The mean window, in segments, if every so many'th segment is lost.
double mean_window(uint32_t round_trip, uint32_t every) {
  connection c(every < 1000 ? 10 : 100, round_trip);
  double sum = 0;
  uint64_t segments = 0, rounds = 0;
  for (unsigned losses = 0; losses < 60; segments = 0) {
    while (segments < every) {
      segments += c.window / mss;
      if (losses >= 20) {
        sum += c.window / double{mss};
        ++rounds;
      }
      c.round_trip();
    }
    c.lose();
    ++losses;
  }
  return sum / static_cast<double>(rounds);
}

TEST(cubic, windows_are_those_of_the_rfc) { // 5.1, equation 6
  for (uint32_t every : {10'000u, 100'000u, 1'000'000u}) {
    const double expected = std::pow(c_constant * (3 + beta) / (4 * (1 - beta)), 0.25) *
                            std::pow(0.1, 0.75) * std::pow(every, 0.75);
    EXPECT_NEAR(mean_window(100, every), expected, expected * 0.1) << every;
  }
}

TEST(cubic, on_short_paths_it_is_as_fast_as_reno) { // 4.3: 1.2 / sqrt(p)
  for (uint32_t every : {100u, 1'000u, 10'000u}) {
    const double expected = 1.22 * std::sqrt(every);
    EXPECT_NEAR(mean_window(5, every), expected, expected * 0.15) << every;
  }
}

TEST(cubic, alpha_is_one_beyond_the_old_window) {
  connection c(100, 10);
  c.lose();
  unsigned rounds_to_prior = 0;
  while (c.window < c.prior) {
    c.round_trip();
    ++rounds_to_prior;
  }
  EXPECT_NEAR(rounds_to_prior, 30 / 0.53, 5);
  const uint32_t before = c.window;
  for (int n = 0; n < 10; ++n)
    c.round_trip();
  EXPECT_NEAR((c.window - before) / mss, 10, 1);
}

} // namespace
} // namespace oblako::net
