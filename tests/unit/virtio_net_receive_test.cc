// sources: drivers/virtio/net.cc drivers/virtio/net_receive.cc drivers/virtio/net_transmit.cc
// sources: drivers/virtio/device.cc drivers/virtio/virtqueue.cc
// The network driver: negotiation, frames received, buffers lent and returned.
#include "tests/unit/virtio_net_fixture.hh"

namespace {

TEST_F(virtio_net, negotiates_in_the_order_of_the_specification) {
  net::device& d = start();
  EXPECT_EQ(bus.statuses, (std::vector<uint8_t>{0, 1, 3, 11, 15}));
  // Of what QEMU offers everything but ECN and the extra-RX filters.
  EXPECT_EQ(bus.accepted, qemu_features & ~(bit(9) | bit(13) | bit(18)));
  EXPECT_EQ(d.mac().bytes[0], 0x52);
  EXPECT_EQ(d.mac().bytes[5], 3);
  EXPECT_EQ(d.mtu(), 1500); // the feature is not offered
  EXPECT_TRUE(d.link_up());
  EXPECT_EQ(d.transmit_gso_types(), 1u << 1 | 1u << 4);
  EXPECT_EQ(bus.sizes[0], 64); // 16 MB of RAM
  EXPECT_EQ(bus.rx().waiting(), first_ring);
  EXPECT_EQ(pages.size(), size_t{first_ring});
  EXPECT_TRUE(bus.rang(0));
}

TEST_F(virtio_net, features_that_depend_on_others_are_not_taken_alone) {
  bus.features &= ~(bit(15) | bit(0) | bit(16)); // no mergeable buffers, no checksum, no status
  net::device& d = start();
  EXPECT_FALSE(bus.accepted & (bit(7) | bit(8) | bit(11) | bit(12) | bit(17) | bit(21)));
  EXPECT_TRUE(bus.accepted & bit(1));
  EXPECT_EQ(d.transmit_gso_types(), 0u);
  EXPECT_FALSE(d.offers_transmit_checksum());
  EXPECT_TRUE(d.link_up());
}

TEST_F(virtio_net, mtu_and_missing_mac) {
  bus.features = (bus.features | bit(3)) & ~bit(5);
  net::device& d = start();
  EXPECT_EQ(d.mtu(), 0x2328);
  EXPECT_EQ(d.mac().bytes[0], 0x5e); // local, not a group
}

TEST_F(virtio_net, refuses_a_device_that_does_not_play_along) {
  bus.features &= ~bit(32);
  oblako_start_virtio_net();
  EXPECT_EQ(attached, nullptr);
  EXPECT_EQ(bus.device_status, 0x80);
  for (int what = 0; what < 4; ++what) {
    fake_bus other;
    present = &other;
    other.refuse_features = what == 0;
    other.stuck = what == 1;
    if (what == 2)
      other.capacity[1] = 0;
    page_limit = what == 3 ? 3 : 100000;
    const size_t before = errors_logged;
    oblako_start_virtio_net();
    EXPECT_EQ(attached, nullptr);
    EXPECT_GT(errors_logged, before);
    EXPECT_EQ(other.statuses.back(), 0x80);
    forget_pages();
  }
}

TEST_F(virtio_net, with_little_memory_the_ring_is_short_but_works) {
  page_limit = 10;
  net::device& d = start();
  EXPECT_EQ(bus.rx().waiting(), 10);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(deliver(1000, 7));
    net::received_frame f;
    ASSERT_TRUE(d.receive(f));
    d.release_frame(f);
    d.flush();
  }
  EXPECT_EQ(pages.size(), 10u);
}

TEST_F(virtio_net, receives_small_and_large_frames) {
  net::device& d = start();
  net::received_frame f;
  EXPECT_FALSE(d.receive(f));
  for (uint32_t length : {60u, 1514u, 3956u, 3957u, 65549u}) {
    const uint8_t flags = length == 60 ? 2 : length == 1514 ? 1 : 0;
    ASSERT_TRUE(deliver(length, static_cast<uint8_t>(length), flags));
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(check_frame(f, static_cast<uint8_t>(length)), length);
    EXPECT_EQ(f.segments, (length + 12 + 3967) / 3968);
    EXPECT_EQ(f.held, f.segments * 4096u);
    EXPECT_EQ(f.checksum, flags == 2   ? net::checksum_state::verified
                          : flags == 1 ? net::checksum_state::partial
                                       : net::checksum_state::none);
    d.release_frame(f);
    d.flush();
    EXPECT_EQ(bus.rx().waiting(), first_ring);
  }
  EXPECT_EQ(pages.size(), size_t{first_ring});
  EXPECT_EQ(d.stats().received_frames, 5u);
}

// With more memory a large frame comes in few pieces.
TEST_F(virtio_net, large_buffers_where_memory_allows) {
  struct {
    uint64_t ram;
    unsigned order;
  } sizes[] = {{40_MiB, 1}, {64_MiB, 2}, {256_MiB, 3}, {4_GiB, 3}};
  for (auto& s : sizes) {
    fake_bus other;
    present = &other;
    ram = s.ram;
    net::device& d = start();
    EXPECT_EQ(other.rx().waiting(), first_ring);
    EXPECT_LE(pages.size() * page_size, ram / 32);
    auto r = other.rx().take();
    EXPECT_EQ(r.pieces[0].length, (4096u << s.order) - 128);
    auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
    memset(to, 0, r.pieces[0].length);
    to[10] = 1;
    other.rx().complete(r.head, 1000);
    net::received_frame f;
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(f.held, 4096u << s.order);
    // The room in front is the stack's.
    memset(f.data - net::received_frame::room_in_front, 0xff, net::received_frame::room_in_front);
    d.release_frame(f);
    d.flush();
    EXPECT_EQ(other.rx().waiting(), first_ring);
    forget_pages();
  }
}

TEST_F(virtio_net, the_ring_grows_when_it_has_run_low) {
  ram = 64_MiB;
  net::device& d = start();
  for (uint16_t expected : {48, 96, 128, 128}) {
    EXPECT_EQ(bus.rx().waiting(), expected);
    bus.rang(0);
    for (int i = 0; i < expected * 2 / 3; ++i)
      ASSERT_TRUE(deliver(1000, 4));
    net::received_frame f;
    while (d.receive(f))
      d.release_frame(f);
    d.flush();
    EXPECT_TRUE(bus.rang(0)); // the device may be waiting
  }
  EXPECT_LE(pages.size() * page_size, ram / 32 * 3 / 2);
}

TEST_F(virtio_net, single_pages_where_memory_is_in_pieces) {
  ram = 64_MiB;
  net::device& d = start();
  largest_order = 0;
  std::vector<net::received_frame> held;
  net::received_frame f;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(deliver(9000, 5)); // three pieces, or one
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(check_frame(f, 5), 9000u);
    held.push_back(f);
    d.flush();
    EXPECT_EQ(bus.rx().waiting(), first_ring);
  }
  EXPECT_EQ(held.front().segments, 1u);
  EXPECT_EQ(held.back().segments, 3u);
  for (auto& h : held)
    d.release_frame(h);
  d.flush();
  EXPECT_EQ(bus.rx().waiting(), first_ring);
  EXPECT_LE(pages.size(), 4u * (first_ring + first_ring / 2));
}

TEST_F(virtio_net, a_frame_whose_pieces_arrive_one_by_one) {
  net::device& d = start();
  // 3 buffers, each published alone (allowed to be seen so by a driver on another CPU).
  net::received_frame f;
  for (uint16_t i = 0; i < 3; ++i) {
    auto r = bus.rx().take();
    auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
    memset(to, 9, r.pieces[0].length);
    if (i == 0) {
      memset(to, 0, 12);
      to[10] = 3;
    }
    bus.rx().complete(r.head, i < 2 ? r.pieces[0].length : 100);
    EXPECT_EQ(d.receive(f), i == 2);
  }
  EXPECT_EQ(check_frame(f, 9), 2 * 3968 - 12 + 100u);
}

TEST_F(virtio_net, lent_buffers_are_replaced_up_to_the_limit_and_given_back) {
  net::device& d = start();
  const size_t limit = 64 + 16_MiB / 16 / 4096;
  std::vector<net::received_frame> held;
  net::received_frame f;
  while (deliver(1000, 1)) {
    ASSERT_TRUE(d.receive(f));
    held.push_back(f);
    d.flush();
    ASSERT_LE(pages.size(), limit);
  }
  EXPECT_EQ(held.size(), limit); // every page is with the stack, the ring is empty
  EXPECT_EQ(pages.size(), limit);
  bus.rang(0);
  d.flush();
  EXPECT_FALSE(bus.rang(0));
  // One comes back: on the ring at once, and the device is told although it did not ask.
  d.release_frame(held.back());
  held.pop_back();
  d.flush();
  EXPECT_EQ(bus.rx().waiting(), 1);
  EXPECT_TRUE(bus.rang(0));
  for (auto& h : held)
    d.release_frame(h);
  d.flush();
  EXPECT_EQ(bus.rx().waiting(), 64);
  EXPECT_EQ(pages.size(), 64u); // the rest went back to the system
}

TEST_F(virtio_net, out_of_memory_while_frames_are_lent_heals_when_they_return) {
  net::device& d = start();
  page_limit = pages.size(); // not one more
  std::vector<net::received_frame> held;
  net::received_frame f;
  while (deliver(1000, 1)) {
    ASSERT_TRUE(d.receive(f));
    held.push_back(f);
    d.flush();
  }
  EXPECT_EQ(held.size(), size_t{first_ring});
  bus.rang(0);
  for (auto& h : held) {
    d.release_frame(h);
    d.flush();
    // Never silent while the device could be waiting for room for a large frame.
    EXPECT_TRUE(bus.rang(0) || bus.rx().waiting() > 40);
  }
  EXPECT_EQ(bus.rx().waiting(), first_ring);
}

TEST_F(virtio_net, the_lost_wake_up_of_qemu_cannot_stall_us) {
  net::device& d = start();
  bus.rang(0);
  // The device uses all but a few buffers and finds the next large frame not fitting.
  for (int i = 0; i < first_ring - 4; ++i)
    ASSERT_TRUE(deliver(100, 1));
  ASSERT_FALSE(deliver(65000, 2));
  // In this very moment the driver drains and refills; by the event index (far behind) it need not
  // notify, and the device asks to be told only about what comes after.
  bus.rx().set_avail_event(static_cast<uint16_t>(bus.rx().driver_index() - 1000));
  net::received_frame f;
  while (d.receive(f)) {
    d.release_frame(f);
    d.flush();
  }
  bus.rx().set_avail_event(bus.rx().driver_index());
  EXPECT_TRUE(bus.rang(0));
  EXPECT_TRUE(deliver(65000, 2));
}

TEST_F(virtio_net, a_well_filled_ring_is_refilled_silently_unless_asked) {
  net::device& d = start();
  bus.rang(0);
  bus.rx().set_avail_event(static_cast<uint16_t>(bus.rx().driver_index() - 1000));
  net::received_frame f;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(deliver(100, 1));
    ASSERT_TRUE(d.receive(f));
    d.release_frame(f);
    d.flush();
  }
  EXPECT_FALSE(bus.rang(0));
}

} // namespace
