// RFC 9438's constants: C is 0.4 segments a second cubed (5), beta 0.7 (4.6). Windows have 31 bits.
#include "core/net/cubic.hh"

#include "core/base/types.hh"

namespace oblako::net {
namespace {

constexpr uint32_t largest = 0x7fff'ffff;
constexpr uint64_t ms3_per_segment = 2'500'000'000; // 1/C
constexpr uint32_t longest = 1 << 20;               // milliseconds; its cube has 60 bits

uint32_t part(uint32_t octets, unsigned hundredths) {
  return static_cast<uint32_t>(uint64_t{octets} * hundredths / 100);
}

uint32_t cube_root(uint64_t n) {
  uint64_t root = 0;
  for (uint64_t bit = 1 << 21; bit != 0; bit >>= 1)
    if (const uint64_t r = root | bit; r * r <= n / r)
      root = r;
  return static_cast<uint32_t>(root);
}

void begin(tcp_cubic& c, uint32_t& counted, uint32_t window, uint32_t mss, uint32_t now) {
  c.began = now;
  c.w_est = window;
  c.k = c.w_max > window ? cubic_k(c.w_max - window, mss) : 0;
  if (c.k == 0)
    c.w_max = window;
  counted = 0;
}

// 4.3. alpha is 3 (1 - beta) / (1 + beta), 9/17; 1 once the old window is reached.
void grow_as_reno(tcp_cubic& c, uint32_t& counted, uint32_t window, uint32_t acknowledged,
                  uint32_t mss, uint32_t prior) {
  counted = min_of(counted, largest) + min_of(acknowledged, largest);
  const uint64_t due = c.w_est >= prior ? window : uint64_t{window} * 17 / 9;
  if (counted < due)
    return;
  counted -= static_cast<uint32_t>(due);
  c.w_est = min_of(c.w_est + mss, largest);
}

} // namespace

uint32_t cubic_k(uint32_t octets, uint32_t mss) {
  return cube_root(octets * ms3_per_segment / mss);
}

uint32_t cubic_window(const tcp_cubic& c, uint32_t t, uint32_t mss) {
  const bool after = t >= c.k;
  const uint64_t d = min_of(after ? t - c.k : c.k - t, longest);
  const uint64_t octets = d * d * d / (ms3_per_segment / 1000) * mss / 1000;
  if (after)
    return static_cast<uint32_t>(min_of<uint64_t>(c.w_max + octets, largest));
  return c.w_max - static_cast<uint32_t>(min_of<uint64_t>(octets, c.w_max));
}

uint32_t cubic_grown(tcp_cubic& c, uint32_t& counted, uint32_t window, uint32_t acknowledged,
                     const cubic_path& p, uint32_t prior, uint32_t now) {
  if (c.w_est == 0)
    begin(c, counted, window, p.mss, now);
  grow_as_reno(c, counted, window, acknowledged, p.mss, prior);
  const uint32_t t = now - c.began;
  if (cubic_window(c, t, p.mss) < c.w_est)
    return max_of(window, c.w_est);
  const uint32_t most = static_cast<uint32_t>(min_of<uint64_t>(uint64_t{window} * 3 / 2, largest));
  const uint32_t target =
      min_of(max_of(cubic_window(c, t + p.round_trip, p.mss), window), max_of(most, window));
  // Rounded: what is cut off with each acknowledgement would add up in a large window.
  const uint64_t growth = uint64_t{target - window} * min_of(acknowledged, window) + window / 2;
  return window + static_cast<uint32_t>(growth / window);
}

uint32_t cubic_reduced(tcp_cubic& c, uint32_t window, uint32_t flight, uint32_t mss) {
  c.w_max_before = c.w_max;
  c.w_max = window < c.w_max ? part(window, 85) : window; // 4.7: fast convergence
  cubic_pause(c);
  return max_of(part(flight, 70), 2 * mss);
}

void cubic_undo(tcp_cubic& c) {
  c.w_max = c.w_max_before;
  cubic_pause(c);
}

void cubic_timed_out(tcp_cubic& c) {
  c.w_max = 0;
  cubic_pause(c);
}

} // namespace oblako::net
