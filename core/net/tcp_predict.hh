// Private to core/net: header prediction (tcp_predict.cc).
#pragma once

#include "core/mem/app_memory.hh"
#include "core/net/interface_internal.hh"

struct pbuf;
struct tcp_pcb;

namespace oblako::net {

// Ethernet, IPv4 or IPv6, and TCP, without options.
inline uint32_t predicted_headers(const uint8_t* frame) {
  return frame[12] == 0x86 ? 74 : 54;
}

// The connection, if a whole frame whose transport checksum is right is what the connection expects
// next. Nothing has happened to it.
tcp_pcb* predict(const interface& i, const uint8_t* frame, uint32_t length);
// Takes such a frame in. `data` is its payload, nullptr: none; the frame's headers are still there.
void take_predicted(tcp_pcb& c, const uint8_t* frame, pbuf* data);

// Sends `bytes` as one segment at once, for a connection on which it fits (fits_segment()).
// Errors: again (the long way, nothing has happened), fault, nobufs.
result<size_t> send_predicted(tcp_pcb& c, mem::io_buffers& from, size_t bytes);

// Sends an acknowledgement without data. False: lwIP has to, or there was no room; nothing has
// happened.
bool send_acknowledgement(tcp_pcb& c);
// Sends one, with data if some waits that may go.
void acknowledge_now(tcp_pcb& c);

// tcp_recved(): the application has read so much.
void take_back(tcp_pcb& c, uint32_t bytes);

// How often the short ways were taken: for segments with data, acknowledgements, segments sent.
struct prediction_counts {
  uint64_t data, acknowledgements, sent;
};
extern prediction_counts predicted;

} // namespace oblako::net
