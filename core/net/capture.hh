// A packet capture for a person at the host: with net.capture=PORT (or ADDRESS:PORT) on the command
// line, every frame in and out is sent there, one UDP datagram each, as a record of a pcap file
// (draft-ietf-opsawg-pcap, section 5; nanoseconds, Ethernet). scripts/capture.py writes the file.
//
// Frames are cut to what fits into a datagram; its own datagrams are not captured. Before there is
// an address the first frames wait. Context: the stack's lock is held.
#pragma once

#include "core/net/device.hh"

struct pbuf;

namespace oblako::net {

extern bool capture_on;

// Reads the option. Boot only.
void start_capture();
void capture_received(const received_frame& f, uint32_t bytes);
void capture_sent(const pbuf* frame);
// Sends what was captured. Not within lwIP.
void send_captured();

} // namespace oblako::net
