// Private to core/net: datagrams and their fragments that find a device's ring full. They wait in
// line (waiting_frames.hh), each as a copy in one piece, and are counted against the socket that
// sent them. A socket that has SO_SNDBUF there, or that finds the line full, is refused and told
// when there is room again.
//
// Invariants: a sender's `in_line` is the memory of its frames in line. A sender is in one list of
// refused ones at most, and in none when it ends. Context: the stack's lock is held.
#pragma once

#include "core/base/types.hh"
#include "core/net/waiting_frames.hh"
#include <stdint.h>

struct netif;
struct pbuf;

namespace oblako::net {

struct interface;

struct datagram_sender {
  void (*has_room)(datagram_sender&);
  size_t in_line = 0, most = 0;
  datagram_sender* next = nullptr; // among those refused, with what refers to it
  datagram_sender** link = nullptr;
};

// A datagram that was begun goes into the line whole: 65,535 octets in fragments of 500.
constexpr size_t room_for_begun = 80_KiB;

// Whether a sender that may have `most` bytes in line may send a datagram there now. If not, its
// has_room() is called later, once.
bool may_send(netif& n, datagram_sender& s, size_t most);
// The sender ends; what it has in line leaves all the same.
void forget_sender(datagram_sender& s);

// What is sent while this object lives is this sender's.
class sending_for : noncopyable {
public:
  explicit sending_for(datagram_sender& s);
  ~sending_for();
};

// --- for transmit.cc
// A copy of the frame, in one piece with device::frame_room in front. nullptr: no memory.
pbuf* copy_for_line(const pbuf& frame);
// It has left the line.
void note_left_line(pbuf& p);
void forget_in_line(waiting_frames& line, const datagram_sender& s);
// Tells those who were refused, if there is room.
void tell_refused(interface& i);

} // namespace oblako::net
