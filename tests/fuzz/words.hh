// The words of a receive script (fuzz_receive.cc): what each is called, and how long it is, so that
// the fuzzer can insert, remove and exchange whole words instead of bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fuzz {

enum class word_kind : uint8_t {
  raw_frame,
  ipv4_packet,
  segment,
  segment_again, // twice as likely as the rest
  pass,
  act,
  ipv6_packet,
  arp_packet,
  icmp_about,
  datagram,
  fragment,
  shortage, // of memory for the next word, or of room in the transmit ring
  open,
  with_checksum,
  dhcp_reply,
  fragment6,
  quote,
  use_datagrams,
  crowd,
  serve,
  fail,
  connect,
  count
};

// How many bytes the word takes that begins at `at`; no more than `left`, which is at least 1.
size_t word_length(const uint8_t* at, size_t left);

} // namespace fuzz
