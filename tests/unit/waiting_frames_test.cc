// The line of frames that wait for room in a device's ring.
#include "core/net/waiting_frames.hh"
#include <gtest/gtest.h>
#include <memory>
#include <vector>

using namespace oblako;
using namespace oblako::net;

namespace {

struct packet {
  alignas(8) uint8_t room[device::frame_room];
  uint8_t data[100];
  waiting_frames::frame f;
  explicit packet(uint32_t length) : f{data, this, length, {}} {
    f.offload.checksum_start = static_cast<uint16_t>(length);
  }
  // What the device does with the room while it looks whether it can take the frame.
  void scribble() { __builtin_memset(room, 0xee, sizeof room); }
};

TEST(waiting_frames, leave_in_the_order_in_which_they_came) {
  packet a(60), b(70), c(80);
  waiting_frames w;
  w.start(1_GiB);
  EXPECT_TRUE(w.empty());
  for (auto* f : {&a, &b, &c})
    EXPECT_TRUE(w.add(f->f));
  EXPECT_EQ(w.bytes(), 210u);
  EXPECT_EQ(w.count(), 3u);
  for (auto* f : {&a, &b, &c}) {
    const auto got = w.take();
    EXPECT_EQ(got.packet, f);
    EXPECT_EQ(got.offload.checksum_start, got.length);
  }
  EXPECT_TRUE(w.empty());
  EXPECT_EQ(w.bytes(), 0u);
  EXPECT_EQ(w.count(), 0u);
}

TEST(waiting_frames, what_the_device_did_not_take_is_first_again) {
  packet a(60), b(70), c(80);
  waiting_frames w;
  w.start(1_GiB);
  w.add(a.f);
  w.add(b.f);
  for (auto* f : {&a, &b}) {
    const auto got = w.take();
    f->scribble();
    w.put_back(got);
    EXPECT_EQ(w.bytes(), f == &a ? 130u : 70u);
    EXPECT_EQ(w.take().packet, f);
  }
  // The last one put back is the last in line too.
  EXPECT_TRUE(w.empty());
  w.add(a.f);
  w.put_back(w.take());
  w.add(c.f);
  EXPECT_EQ(w.take().packet, &a);
  EXPECT_EQ(w.take().packet, &c);
  EXPECT_TRUE(w.empty());
}

TEST(waiting_frames, are_limited_in_octets) {
  std::vector<std::unique_ptr<packet>> all;
  waiting_frames w;
  w.start(1_GiB);
  size_t bytes = 0;
  for (;; bytes += 60) {
    all.push_back(std::make_unique<packet>(60));
    if (!w.add(all.back()->f))
      break;
    ASSERT_LE(w.bytes(), waiting_frames::most_bytes);
  }
  EXPECT_EQ(w.bytes(), bytes);
  EXPECT_GT(bytes + 60, waiting_frames::most_bytes);
  w.take();
  EXPECT_TRUE(w.add(all.back()->f));
}

TEST(waiting_frames, are_fewer_in_a_small_memory) {
  waiting_frames w;
  w.start(16_MiB);
  EXPECT_EQ(w.limit(), 256_KiB);
  w.start(64_MiB);
  EXPECT_EQ(w.limit(), waiting_frames::most_bytes);
}

} // namespace
