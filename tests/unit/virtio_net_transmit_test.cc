// sources: drivers/virtio/net.cc drivers/virtio/net_receive.cc drivers/virtio/net_transmit.cc
// sources: drivers/virtio/device.cc drivers/virtio/virtqueue.cc
// The network driver: frames sent, interrupts, and changes of the configuration.
#include "tests/unit/virtio_net_fixture.hh"

namespace {

// --- sending

TEST_F(virtio_net, sends_a_gathered_frame_with_offloads) {
  net::device& d = start();
  sent_log log;
  const std::string a(54, 'a'), b(1000, 'b');
  const net::segment parts[] = {{a.data(), 54}, {b.data(), 1000}};
  net::transmit_offload o;
  o.needs_checksum = true;
  o.checksum_start = 34;
  o.checksum_offset = 16;
  o.gso_type = 1;
  o.gso_size = 500;
  o.header_length = 54;
  ASSERT_TRUE(d.transmit(parts, 2, o, sent_log::record, to_host(77)).ok());
  EXPECT_FALSE(bus.rang(1)); // not before flush
  d.flush();
  EXPECT_TRUE(bus.rang(1));
  auto r = bus.tx().take();
  ASSERT_EQ(r.pieces.size(), 3u);
  ASSERT_EQ(r.pieces[0].length, 12u);
  // 5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
  const uint8_t expected[12] = {1, 1, 54, 0, 0xf4, 1, 34, 0, 16, 0, 0, 0};
  EXPECT_EQ(memcmp(to_host(r.pieces[0].address), expected, 12), 0);
  EXPECT_EQ(to_host(r.pieces[1].address), a.data());
  EXPECT_EQ(to_host(r.pieces[2].address), b.data());
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1] - 3u);
  EXPECT_TRUE(log.done.empty());
  bus.tx().complete(r.head, 0);
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1]);
  EXPECT_EQ(log.done, std::vector<uintptr_t>{77});
}

TEST_F(virtio_net, sends_a_whole_frame_with_its_header_in_front) {
  net::device& d = start();
  sent_log log;
  constexpr size_t room = net::device::frame_room;
  alignas(8) uint8_t memory[room + 60] = {};
  uint8_t* const frame = memory + room;
  memset(frame, 'f', 60);
  net::transmit_offload o;
  o.needs_checksum = true;
  o.checksum_start = 34;
  o.checksum_offset = 16;
  ASSERT_TRUE(d.transmit_whole(frame, 60, o, sent_log::record, to_host(78)).ok());
  EXPECT_FALSE(bus.rang(1)); // not before flush
  d.flush();
  EXPECT_TRUE(bus.rang(1));
  auto r = bus.tx().take();
  ASSERT_EQ(r.pieces.size(), 1u);
  ASSERT_EQ(r.pieces[0].length, 12u + 60u);
  EXPECT_EQ(to_host(r.pieces[0].address), frame - 12);
  const uint8_t expected[12] = {1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0};
  EXPECT_EQ(memcmp(frame - 12, expected, 12), 0);
  EXPECT_EQ(frame[0], 'f');
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1] - 1u);
  EXPECT_TRUE(log.done.empty());
  bus.tx().complete(r.head, 0);
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1]);
  EXPECT_EQ(log.done, std::vector<uintptr_t>{78});
  // Between others, each comes back with its own; the ring may be full of them.
  const net::segment part{frame, 60};
  std::vector<std::array<uint8_t, room + 8>> frames(bus.sizes[1]);
  size_t n = 0;
  ASSERT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(1000)).ok());
  while (d.transmit_whole(frames[n].data() + room, 8, {}, sent_log::record, to_host(n + 1)).ok())
    ++n;
  EXPECT_EQ(n, bus.sizes[1] - 2u);
  EXPECT_EQ(d.transmit_whole(frame, 60, {}, sent_log::record, nullptr).code(), error::again);
  log.done.clear();
  while (bus.tx().has_request())
    bus.tx().complete(bus.tx().take().head, 0);
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1]);
  EXPECT_EQ(log.done.size(), n + 1);
  EXPECT_EQ(log.done.front(), 1000u);
  EXPECT_EQ(log.done.back(), n);
}

TEST_F(virtio_net, full_transmit_ring_says_again_and_asks_for_one_interrupt) {
  net::device& d = start();
  sent_log log;
  const char byte = 0;
  const net::segment part{&byte, 1};
  size_t n = 0;
  d.enable_interrupts();
  const uint16_t asked_before = bus.tx().used_event();
  for (;; ++n) {
    auto r = d.transmit(&part, 1, {}, sent_log::record, to_host(n + 1));
    if (!r.ok()) {
      EXPECT_EQ(r.code(), error::again);
      break;
    }
  }
  EXPECT_EQ(n, bus.sizes[1] / 2u);
  d.flush();
  EXPECT_EQ(bus.tx().used_event(), asked_before); // nobody waited yet
  EXPECT_TRUE(d.enable_interrupts());
  const uint16_t before = bus.tx().used_index();
  std::vector<uint16_t> heads;
  while (bus.tx().has_request())
    heads.push_back(bus.tx().take().head);
  bus.tx().complete(heads[3], 0);
  EXPECT_TRUE(bus.tx().interrupt_due(before));
  EXPECT_FALSE(d.enable_interrupts()); // room came: poll
  EXPECT_EQ(d.reclaim_transmitted(), 2u);
  EXPECT_EQ(log.done, std::vector<uintptr_t>{4});
  EXPECT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(1000)).ok());
  EXPECT_EQ(d.transmit(&part, 0, {}, sent_log::record, nullptr).code(), error::inval);
}

// --- interrupts and configuration

int notifications;
void count_notification(void* context) {
  EXPECT_EQ(context, &notifications);
  ++notifications;
}

TEST_F(virtio_net, interrupts_wake_the_stack_once) {
  net::device& d = start();
  notifications = 0;
  bus.handlers[0].first(bus.handlers[0].second); // before set_notify: nothing to call
  d.set_notify(count_notification, &notifications);
  EXPECT_TRUE(d.enable_interrupts());
  uint16_t before = bus.rx().used_index();
  ASSERT_TRUE(deliver(100, 1));
  EXPECT_TRUE(bus.rx().interrupt_due(before));
  bus.handlers[0].first(bus.handlers[0].second);
  EXPECT_EQ(notifications, 1);
  before = bus.rx().used_index();
  ASSERT_TRUE(deliver(100, 1));
  EXPECT_FALSE(bus.rx().interrupt_due(before)); // off until enabled again
  EXPECT_FALSE(d.enable_interrupts());          // two frames are there
  net::received_frame f;
  while (d.receive(f))
    d.release_frame(f);
  EXPECT_TRUE(d.enable_interrupts());
}

TEST_F(virtio_net, link_changes_and_announcements) {
  net::device& d = start();
  notifications = 0;
  d.set_notify(count_notification, &notifications);
  bus.config[6] = 0;
  bus.config_handler.first(bus.config_handler.second);
  EXPECT_EQ(notifications, 1);
  EXPECT_FALSE(d.enable_interrupts()); // there is something to look at
  net::received_frame f;
  EXPECT_FALSE(d.receive(f));
  EXPECT_TRUE(d.enable_interrupts());
  EXPECT_FALSE(d.link_up());
  EXPECT_FALSE(d.take_announce_request());

  bus.config[6] = 3; // up, please announce
  bus.config_handler.first(bus.config_handler.second);
  d.receive(f);
  EXPECT_TRUE(d.link_up());
  EXPECT_TRUE(d.take_announce_request());
  EXPECT_FALSE(d.take_announce_request());
  EXPECT_TRUE(bus.rang(2));
  auto r = bus.queues[2]->take();
  ASSERT_EQ(r.pieces.size(), 2u);
  EXPECT_EQ(r.pieces[0].length, 2u);
  EXPECT_EQ(memcmp(to_host(r.pieces[0].address), "\3\0", 2), 0);
  EXPECT_TRUE(r.pieces[1].writable);
  bus.queues[2]->complete(r.head, 1);
}

} // namespace
