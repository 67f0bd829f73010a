// Network interfaces: a device driver on one side, lwIP on the other. Frames come up as custom
// pbufs that lend the device's receive buffers, and go down as the pieces of a pbuf chain.
//
// Context: everything here runs under the stack's lock, except net::attach() at boot.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pbuf;

namespace oblako::net {

// Brings up the devices attached so far: addresses from the command line or by DHCP.
void start_interfaces();
bool have_interfaces();

// The memory that a packet holds: its buffers, and of a frame on loan the device's.
size_t packet_memory(const pbuf& p);

// Takes a bounded batch of frames from every device. Returns how many.
unsigned receive_frames();
// Lets the devices give back what they have sent.
void reclaim_frames();
// True while frames wait for room in a device's ring.
bool frames_waiting();
// True if frames have been queued that the devices have not been told of.
extern bool any_frames_queued;
inline bool frames_queued() {
  return any_frames_queued;
}
void flush_devices();
// False if a device had a frame in the meantime.
bool enable_device_interrupts();
void disable_device_interrupts();

// Has the devices give up receive buffers that they only keep in stock.
void drop_spare_frames();

// Follows the devices' link state.
void check_links();

} // namespace oblako::net
