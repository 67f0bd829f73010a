// The kernel command line: options, then `--`, then the application's arguments. Parsed once at
// boot into these values; what is wrong is named in a warning and left out, and the first of two
// with one name counts.
//
//   ip=ADDR/LEN gw=ADDR dns=ADDR[,ADDR]   static IPv4 (DHCP where there is a NIC and no ip=)
//   ip6=ADDR/64 gw6=ADDR                  static IPv6, beside what routers announce
//   en1.ip=ADDR/LEN en1.ip6=ADDR/64 ...   the same for other interfaces than the first
//   net.capture=[ADDR:]PORT                every frame as a UDP datagram (core/net/capture.hh)
//   hostname=NAME  clock=UNIX_SECONDS[.fraction]  env.NAME=VALUE  boot.trace
//                                         prints when each stage of the boot was reached
//   mem.wx=allow                          memory may be writable and executable at once
//   virtio_mmio.device=SIZE@ADDRESS:IRQ   taken from anywhere, also behind `--`
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::boot {

// The value of `name=` from the command line, or nullptr; "" for a bare word. The text lives for
// ever, zero-terminated. Marks the option as known. Context: any, after boot has parsed.
const char* option(const char* name);

struct named_option {
  const char* name = nullptr;
  const char* value = nullptr;
};
// An option for an interface that a machine with `count` of them does not have; no name: there is
// none.
named_option interface_option_beyond(unsigned count);

// An option whose value cannot be what was meant and which the machine should not run without: one
// line, NAME=VALUE and `what`, and the end with status 78. Context: thread.
[[noreturn]] void refuse_option(const char* name, const char* value, const char* what);

// hostname=, or the default.
constexpr char default_host_name[] = "oblako";
const char* host_name();

struct virtio_mmio_slot {
  uint64_t address;
  uint32_t size;
  uint32_t irq; // GSI
};
constexpr size_t max_virtio_mmio_slots = 32;
// Slots named on the command line, or, on a microvm with ACPI, all 24 standard ones.
size_t virtio_mmio_slots(const virtio_mmio_slot** slots);

} // namespace oblako::boot

// What is wrong with an option's value, or nullptr. From whoever uses the option, in images that
// do.
extern "C" {
[[gnu::weak]] const char* oblako_check_host_name(const char* value);
[[gnu::weak]] const char* oblako_check_clock(const char* value);
[[gnu::weak]] const char* oblako_check_capture(const char* value);
}
