// sources: core/net/tcp_scoreboard.cc core/net/tcp_held.cc
// needs: lwip
// What is known of each segment sent (the scoreboard), and of what arrives twice, on lwIP's own
// structures. Numbers begin shortly before they wrap around.
#include "core/net/tcp_scoreboard.hh"

#include <deque>
#include <gtest/gtest.h>
#include <vector>

u32_t tcp_ticks;

namespace oblako::net {
namespace {

constexpr uint32_t start = 0xffff'f000;
constexpr uint16_t mss = 1000;

struct parts {
  std::deque<tcp_seg> segments;
  std::deque<tcp_hdr> headers;
  tcp_seg& add(uint32_t sequence, uint16_t length) {
    tcp_hdr& h = headers.emplace_back();
    h.seqno = lwip_htonl(sequence);
    tcp_seg& s = segments.emplace_back();
    s.tcphdr = &h;
    s.len = length;
    return s;
  }
};
parts* made;
bool no_memory;

// A connection with these lengths in flight, sent in this order.
struct scoreboard : testing::Test {
  scoreboard() {
    made = &memory;
    no_memory = false;
    tcp_ticks = 1000;
    c.mss = mss;
    c.sa = 40 << 3;
    c.lastack = c.snd_nxt = start;
    c.recovery.delivered = {start, 0};
  }
  void in_flight(std::vector<uint16_t> lengths) {
    tcp_seg** link = &c.unacked;
    for (uint16_t n : lengths) {
      *link = &memory.add(c.snd_nxt, n);
      link = &(*link)->next;
      c.snd_nxt += n;
    }
  }
  // A block of the other side's; offsets from the first octet.
  bool block(uint32_t left, uint32_t right) {
    return note_block(c, {start + left, start + right}, c.recovery.delivered);
  }
  tcp_seg& at(uint32_t offset) {
    for (tcp_seg* s = c.unacked; s; s = s->next)
      if (sequence(*s) == start + offset)
        return *s;
    throw std::out_of_range("no segment begins there");
  }
  void sent_again(uint32_t offset) {
    tcp_seg& s = at(offset);
    s.flags = static_cast<u8_t>((s.flags | TF_SEG_SENT_AGAIN) & ~TF_SEG_LOST);
    s.again = {c.snd_nxt, ++c.recovery.turn};
    s.again_at = tcp_ticks;
  }
  // Offsets of the segments with a mark.
  std::vector<uint32_t> marked(u8_t mark) {
    std::vector<uint32_t> offsets;
    for (tcp_seg* s = c.unacked; s; s = s->next)
      if (s->flags & mark)
        offsets.push_back(sequence(*s) - start);
    return offsets;
  }
  using offsets = std::vector<uint32_t>;
  parts memory;
  tcp_pcb c{};
};

// --- blocks

TEST_F(scoreboard, a_block_marks_whole_segments_and_counts_them_once) {
  in_flight({1000, 1000, 1000, 500});
  EXPECT_TRUE(block(1000, 3000));
  EXPECT_EQ(marked(TF_SEG_SACKED), (offsets{1000, 2000}));
  EXPECT_EQ(c.recovery.arrived, 2000u);
  EXPECT_FALSE(block(1000, 3000));
  EXPECT_TRUE(block(1000, 3500));
  EXPECT_EQ(c.recovery.arrived, 2500u);
  EXPECT_EQ(sacked_bytes(c), 2500u);
  EXPECT_EQ(in_network(c), 1000u);
}

TEST_F(scoreboard, a_block_outside_of_what_is_in_flight_tells_nothing) {
  in_flight({1000, 1000});
  EXPECT_FALSE(block(2000, 2001));                         // not sent
  EXPECT_FALSE(block(1000, 2001));                         // in part
  EXPECT_FALSE(block(static_cast<uint32_t>(-1000), 1000)); // acknowledged
  EXPECT_FALSE(block(1000, 1000));
  EXPECT_FALSE(block(2000, 1000));
  EXPECT_EQ(marked(0xff), offsets{});
}

TEST_F(scoreboard, a_large_segment_is_cut_at_the_edges_of_a_block) {
  in_flight({5000, 1000});
  EXPECT_TRUE(block(2000, 3000));
  EXPECT_EQ(marked(TF_SEG_SACKED), offsets{2000});
  EXPECT_EQ(length(at(0)), 2000u);
  EXPECT_EQ(length(at(2000)), 1000u);
  EXPECT_EQ(length(at(3000)), 2000u);
  EXPECT_EQ(in_network(c), 5000u);
}

TEST_F(scoreboard, what_cannot_be_cut_stays_unmarked) {
  in_flight({800, 5000});
  EXPECT_FALSE(block(400, 800)); // shorter than the MSS: it came as one
  no_memory = true;
  EXPECT_FALSE(block(800, 1800));
  EXPECT_EQ(marked(TF_SEG_SACKED), offsets{});
  no_memory = false;
  EXPECT_TRUE(block(800, 1800));
  EXPECT_EQ(marked(TF_SEG_SACKED), offsets{800});
}

TEST_F(scoreboard, an_acknowledgement_counts_what_no_block_has) {
  in_flight({1000, 1000, 3000});
  block(1000, 2000);
  note_acknowledged(c, start + 2500);
  EXPECT_EQ(c.recovery.arrived, 2500u);
}

TEST_F(scoreboard, a_block_takes_the_mark_of_loss_away) {
  in_flight({1000, 1000});
  all_lost(c);
  EXPECT_EQ(in_network(c), 0u);
  block(1000, 2000);
  EXPECT_EQ(marked(TF_SEG_LOST), offsets{0});
  EXPECT_TRUE(any_marked(c, TF_SEG_LOST));
  clear_marks(c, TF_SEG_LOST);
  EXPECT_FALSE(any_marked(c, TF_SEG_LOST));
  EXPECT_EQ(marked(TF_SEG_SACKED), offsets{1000});
}

// --- what was sent before what (RFC 8985)

TEST(send_order, first_by_octets_then_by_turns) {
  EXPECT_TRUE(sent_before({start, 0}, {start + 0x2000, 0}));
  EXPECT_FALSE(sent_before({start, 0}, {start, 0}));
  EXPECT_TRUE(sent_before({start, 0}, {start, 1}));
  EXPECT_FALSE(sent_before({start, 1}, {start, 0}));
  EXPECT_TRUE(sent_before({start, 0xffff}, {start, 1})); // turns wrap around, past 0
  EXPECT_TRUE(sent_before({start, 7}, {start + 1, 0}));
}

TEST_F(scoreboard, what_was_overtaken_is_lost_at_once_or_after_a_wait) {
  in_flight({1000, 1000, 1000, 1000});
  block(2000, 3000);
  EXPECT_FALSE(find_losses(c, false));
  EXPECT_TRUE(c.recovery.waiting);
  const uint32_t window = reordering_window(c);
  tcp_ticks += window - 1;
  EXPECT_FALSE(find_losses(c, false));
  tcp_ticks += 1;
  EXPECT_TRUE(find_losses(c, false));
  EXPECT_EQ(marked(TF_SEG_LOST), (offsets{0, 1000}));
  EXPECT_FALSE(c.recovery.waiting);
  clear_marks(c, TF_SEG_LOST);
  EXPECT_TRUE(find_losses(c, true));
  EXPECT_EQ(marked(TF_SEG_LOST), (offsets{0, 1000}));
}

TEST_F(scoreboard, what_is_overtaken_later_is_waited_for_anew) {
  in_flight({1000, 1000, 1000, 1000});
  block(1000, 2000);
  find_losses(c, false);
  tcp_ticks += reordering_window(c);
  block(3000, 4000); // overtakes the third only now
  EXPECT_TRUE(find_losses(c, false));
  EXPECT_EQ(marked(TF_SEG_LOST), offsets{0});
  EXPECT_TRUE(c.recovery.waiting);
  tcp_ticks += reordering_window(c);
  find_losses(c, false);
  EXPECT_EQ(marked(TF_SEG_LOST), (offsets{0, 2000}));
}

TEST_F(scoreboard, what_is_sent_again_can_be_lost_again) {
  in_flight({1000, 1000, 1000});
  block(1000, 2000);
  find_losses(c, true);
  sent_again(0);
  EXPECT_FALSE(find_losses(c, true)); // what has arrived was sent before
  tcp_ticks += 40;
  block(2000, 3000); // still before
  EXPECT_FALSE(find_losses(c, true));
  tcp_seg& next = memory.add(c.snd_nxt, 1000);
  at(2000).next = &next;
  c.snd_nxt += 1000;
  block(3000, 4000);
  EXPECT_TRUE(find_losses(c, true));
  EXPECT_EQ(marked(TF_SEG_LOST), offsets{0});
}

TEST_F(scoreboard, an_answer_too_soon_is_one_to_the_first_copy) {
  in_flight({1000, 1000, 1000});
  sent_again(1000);
  tcp_ticks += 19; // of 40 milliseconds
  block(1000, 2000);
  EXPECT_EQ(c.recovery.delivered.turn, 0);
  EXPECT_EQ(c.recovery.delivered.octet, start);
  sent_again(2000);
  tcp_ticks += 20;
  block(2000, 3000);
  EXPECT_EQ(c.recovery.delivered.turn, 2);
  EXPECT_TRUE(find_losses(c, true)); // and everything sent before is overtaken
}

TEST_F(scoreboard, what_came_late_shows_that_the_path_reorders) {
  in_flight({1000, 1000, 1000});
  block(1000, 2000);
  EXPECT_EQ(c.recovery.patience, 0);
  block(0, 1000);
  EXPECT_EQ(c.recovery.patience, 1);
}

TEST_F(scoreboard, the_reordering_window_is_quarters_of_the_round_trip) {
  EXPECT_EQ(reordering_window(c), 10u);
  c.recovery.patience = 3;
  EXPECT_EQ(reordering_window(c), 30u);
  c.recovery.patience = 200;
  EXPECT_EQ(reordering_window(c), 40u);
  c.sa = 0;
  EXPECT_EQ(reordering_window(c), 2u);
}

// --- what had been sent before a time-out (RFC 5682)

TEST_F(scoreboard, an_original_is_what_was_sent_before_the_time_out_and_not_again) {
  in_flight({1000, 4000, 1000});
  c.recover = c.snd_nxt;
  c.recovery.suspect = 1;
  sent_again(0);
  note_acknowledged(c, start + 1000);
  EXPECT_FALSE(c.recovery.original);
  note_acknowledged(c, start + 2000); // a part of one
  EXPECT_TRUE(c.recovery.original);
  c.recovery.original = 0;
  block(5000, 6000);
  EXPECT_TRUE(c.recovery.original);
  c.recovery.original = 0;
  c.recover = start + 4999; // sent after it
  note_acknowledged(c, start + 5000);
  EXPECT_FALSE(c.recovery.original);
}

// --- what arrives twice

struct held : testing::Test {
  held() {
    c.rcv_nxt = start;
    c.flags = TF_SACK;
  }
  // Held out of sequence; the order is that of the queue. Numbers there are the host's.
  void have(uint32_t left, uint32_t right) {
    tcp_seg& s = memory.add(0, static_cast<uint16_t>(right - left));
    s.tcphdr->seqno = start + left;
    tcp_seg** link = &c.ooseq;
    while (*link)
      link = &(*link)->next;
    *link = &s;
  }
  bool arrives(uint32_t left, uint32_t right) {
    duplicate = around = {};
    return oblako_tcp_held(&c, start + left, start + right, &duplicate, &around);
  }
  bool is(const tcp_sack_range& r, uint32_t left, uint32_t right) {
    return r.left == start + left && r.right == start + right;
  }
  parts memory;
  tcp_pcb c{};
  tcp_sack_range duplicate{}, around{};
};

TEST_F(held, what_is_new_is_no_duplicate) {
  have(100, 200);
  have(300, 400);
  for (auto [left, right] : {std::pair{0u, 100u}, {200u, 300u}, {400u, 500u}}) {
    EXPECT_FALSE(arrives(left, right));
    EXPECT_EQ(duplicate.left, duplicate.right);
  }
}

TEST_F(held, what_was_delivered_ends_with_what_is_expected) {
  have(100, 200);
  EXPECT_FALSE(arrives(static_cast<uint32_t>(-50), 0));
  EXPECT_TRUE(is(duplicate, static_cast<uint32_t>(-50), 0));
  EXPECT_FALSE(arrives(static_cast<uint32_t>(-50), 150));
  EXPECT_TRUE(is(duplicate, static_cast<uint32_t>(-50), 0));
}

TEST_F(held, what_is_held_lies_in_a_run_of_segments) {
  have(100, 200);
  have(200, 300);
  have(400, 500);
  EXPECT_TRUE(arrives(150, 250));
  EXPECT_TRUE(is(duplicate, 150, 250));
  EXPECT_TRUE(is(around, 100, 300));
  EXPECT_TRUE(arrives(400, 500));
  EXPECT_TRUE(is(around, 400, 500));
}

TEST_F(held, of_a_part_the_first_is_told) {
  have(100, 200);
  have(300, 400);
  EXPECT_FALSE(arrives(50, 150));
  EXPECT_TRUE(is(duplicate, 100, 150));
  EXPECT_FALSE(arrives(0, 400));
  EXPECT_TRUE(is(duplicate, 100, 200));
  EXPECT_FALSE(arrives(250, 350));
  EXPECT_TRUE(is(duplicate, 300, 350));
}

TEST_F(held, who_knows_no_sack_is_told_nothing) {
  c.flags = 0;
  have(100, 200);
  EXPECT_FALSE(arrives(static_cast<uint32_t>(-50), 0));
  EXPECT_TRUE(arrives(120, 180)); // it is dropped all the same
  EXPECT_EQ(duplicate.left, duplicate.right);
}

} // namespace
} // namespace oblako::net

// lwIP's: the remainder follows in the queue.
err_t tcp_split_seg(tcp_pcb*, tcp_seg* s, u16_t keep) {
  using namespace oblako::net;
  if (no_memory)
    return ERR_MEM;
  tcp_seg& rest =
      made->add(lwip_ntohl(s->tcphdr->seqno) + keep, static_cast<uint16_t>(s->len - keep));
  rest.flags = s->flags;
  rest.again = s->again;
  rest.again_at = s->again_at;
  rest.next = s->next;
  s->next = &rest;
  s->len = keep;
  return ERR_OK;
}
