// A bad network: passes frames between two tap devices and harms some of them.
//
//   relay CLIENT GUEST [to-guest:|to-client:]FAULT=VALUE...
//
// CLIENT is a tap device that this program opens: what the host sends into it comes here. GUEST is
// another, opened by the virtual machine monitor; its host side is read and written by a packet
// socket. Both carry offload headers, so unharmed frames pass as they are, large segments and
// partial checksums included. A large segment counts as the packets it would be on a wire, and is
// cut into these if a fault hits one of them. Faults concern IP packets only.
//
//   drop= flip= reorder= duplicate=   probability per packet
//   drop-packets=1,7,12               by number, from 1, in each direction
//   delay=MS rate=BYTES/S queue=BYTES (waiting for the rate; beyond, packets are dropped)
//   seed=N distance=N                 packets that overtake a reordered one
//
// Without a prefix a fault is for both directions. Says "relay: ready" when it runs; on SIGTERM
// prints a line of JSON with what it did, and ends. On SIGUSR1 prints one too, and begins anew with
// the next seed: numbers and counts start from nothing.
#include "tests/tools/faults.hh"
#include "tests/tools/packets.hh"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <map>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace relay;

constexpr uint64_t ns_per_ms = 1'000'000, ns_per_s = 1'000'000'000;
// A packet to be overtaken waits no longer than this if nothing comes to overtake it.
constexpr uint64_t longest_hold = 20 * ns_per_ms;

volatile sig_atomic_t stopped, renewed;

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
  exit(1);
}

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * ns_per_s + static_cast<uint64_t>(t.tv_nsec);
}

// --- the two ends

int open_tap(const char* name) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    fail("/dev/net/tun");
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &request) != 0)
    fail(name);
  if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) != 0)
    fail("TUNSETOFFLOAD");
  return fd;
}

int open_packet_socket(const char* name) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    fail("packet socket");
  const int yes = 1, buffer = 32 << 20;
  if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) != 0)
    fail("PACKET_VNET_HDR");
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(if_nametoindex(name));
  if (address.sll_ifindex == 0 ||
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail(name);
  return fd;
}

bool read_frame(int fd, frame& out) {
  static uint8_t buffer[70'000];
  iovec parts[] = {{&out.offload, sizeof out.offload}, {buffer, sizeof buffer}};
  const ssize_t n = readv(fd, parts, 2);
  if (n <= static_cast<ssize_t>(sizeof out.offload))
    return false;
  out.bytes.assign(buffer, buffer + n - static_cast<ssize_t>(sizeof out.offload));
  return true;
}

// --- one direction

struct direction {
  const char* name;
  unsigned number;
  int from, to;
  faults f;

  // Frames on their way, by the time of their arrival.
  std::multimap<uint64_t, frame> under_way;
  uint64_t line_free = 0; // when a limited line has sent what it has
  uint64_t queued_bytes = 0;
  // A packet that is being overtaken.
  struct held_packet {
    frame packet;
    uint32_t overtakers;
    uint64_t until;
  };
  std::vector<held_packet> held;

  // `repeated`: packets with data that lie before what their connection has sent already.
  uint64_t packets = 0, bytes = 0, dropped = 0, flipped = 0, reordered = 0, duplicated = 0, cut = 0,
           overflowed = 0, unwritable = 0, repeated = 0;
  std::map<uint32_t, uint32_t> sent; // by both ports: the sequence number that comes next

  void take(frame&& fr, uint64_t now) {
    if (!is_ip(fr))
      return enqueue(std::move(fr), now);
    bytes += fr.bytes.size();
    const size_t count = wire_packets(fr);
    note_sequence(fr, count);
    bool harmed = false;
    for (size_t i = 1; i <= count; ++i)
      harmed |= fate_of(f, number, packets + i) != fate::pass;
    if (!harmed) {
      packets += count;
      enqueue(std::move(fr), now);
      return let_pass(static_cast<uint32_t>(count), now);
    }
    cut += count > 1;
    for (frame& packet : relay::cut(fr))
      take_packet(std::move(packet), now);
  }

  void note_sequence(const frame& fr, size_t count) {
    const tcp_place place = place_of(fr);
    if (place.length == 0)
      return;
    const auto [known, first] = sent.try_emplace(place.ports, place.sequence);
    if (!first && static_cast<int32_t>(place.sequence - known->second) < 0)
      repeated += count;
    else
      known->second = place.sequence + place.length;
  }

  void begin_anew() {
    ++f.seed;
    packets = bytes = dropped = flipped = reordered = duplicated = cut = overflowed = unwritable =
        repeated = 0;
    sent.clear();
  }

  void take_packet(frame&& packet, uint64_t now) {
    ++packets;
    switch (fate_of(f, number, packets)) {
    case fate::drop:
      ++dropped;
      return;
    case fate::reorder:
      ++reordered;
      held.push_back({std::move(packet), f.reorder_distance, now + longest_hold});
      return;
    case fate::flip:
      ++flipped;
      flip_bit(packet, number_for(f.seed, number, packets, 9));
      break;
    case fate::duplicate:
      ++duplicated;
      enqueue(frame(packet), now);
      break;
    case fate::pass:
      break;
    }
    enqueue(std::move(packet), now);
    let_pass(1, now);
  }

  // So many packets have overtaken those that are held.
  void let_pass(uint32_t count, uint64_t now) {
    for (size_t i = 0; i < held.size();) {
      held_packet& h = held[i];
      h.overtakers -= count < h.overtakers ? count : h.overtakers;
      if (h.overtakers != 0 && now < h.until) {
        ++i;
        continue;
      }
      frame packet = std::move(h.packet);
      held.erase(held.begin() + static_cast<ptrdiff_t>(i));
      enqueue(std::move(packet), now);
    }
  }

  void enqueue(frame&& fr, uint64_t now) {
    uint64_t when = now;
    if (f.rate != 0) {
      if (queued_bytes + fr.bytes.size() > f.queue) {
        ++overflowed;
        return;
      }
      line_free = (line_free > now ? line_free : now) + fr.bytes.size() * ns_per_s / f.rate;
      when = line_free;
    }
    queued_bytes += fr.bytes.size();
    under_way.emplace(when + f.delay_ns, std::move(fr));
  }

  // Writes what has arrived.
  void deliver(uint64_t now) {
    let_pass(0, now);
    while (!under_way.empty() && under_way.begin()->first <= now) {
      frame fr = std::move(under_way.begin()->second);
      under_way.erase(under_way.begin());
      queued_bytes -= fr.bytes.size();
      iovec parts[] = {{&fr.offload, sizeof fr.offload}, {fr.bytes.data(), fr.bytes.size()}};
      if (writev(to, parts, 2) < 0)
        ++unwritable;
    }
  }

  uint64_t next_due() const {
    uint64_t due = under_way.empty() ? ~uint64_t{0} : under_way.begin()->first;
    for (const held_packet& h : held)
      due = due < h.until ? due : h.until;
    return due;
  }

  void print() const {
    printf("\"%s\": {\"packets\": %lu, \"bytes\": %lu, \"dropped\": %lu, \"flipped\": %lu, "
           "\"reordered\": %lu, \"duplicated\": %lu, \"cut\": %lu, \"overflowed\": %lu, "
           "\"unwritable\": %lu, \"repeated\": %lu}",
           name, packets, bytes, dropped, flipped, reordered, duplicated, cut, overflowed,
           unwritable, repeated);
  }
};

// --- arguments

bool set_fault(faults& f, const std::string& name, const std::string& value) {
  char* end;
  const double number = strtod(value.c_str(), &end);
  if (name == "drop-packets") {
    for (const char* at = value.c_str(); *at; at = *end ? end + 1 : end) {
      const uint64_t packet = strtoull(at, &end, 10);
      if (end == at || (*end != ',' && *end != 0))
        return false;
      f.drop_these.insert(packet);
    }
    return true;
  }
  if (value.empty() || *end != 0 || number < 0)
    return false;
  const auto whole = static_cast<uint64_t>(number);
  const auto per_million = static_cast<uint32_t>(number * 1'000'000 + 0.5);
  if (name == "drop")
    f.drop = per_million;
  else if (name == "flip")
    f.flip = per_million;
  else if (name == "reorder")
    f.reorder = per_million;
  else if (name == "duplicate")
    f.duplicate = per_million;
  else if (name == "distance" && whole > 0)
    f.reorder_distance = static_cast<uint32_t>(whole);
  else if (name == "delay")
    f.delay_ns = static_cast<uint64_t>(number * static_cast<double>(ns_per_ms));
  else if (name == "rate")
    f.rate = whole;
  else if (name == "queue")
    f.queue = whole;
  else if (name == "seed")
    f.seed = whole;
  else
    return false;
  return true;
}

bool parse(std::string argument, faults& to_guest, faults& to_client) {
  bool guest = true, client = true;
  if (const size_t colon = argument.find(':'); colon != std::string::npos) {
    const std::string side = argument.substr(0, colon);
    guest = side == "to-guest";
    client = side == "to-client";
    argument = argument.substr(colon + 1);
  }
  const size_t equals = argument.find('=');
  if (equals == std::string::npos || (!guest && !client))
    return false;
  const std::string name = argument.substr(0, equals), value = argument.substr(equals + 1);
  return (!guest || set_fault(to_guest, name, value)) &&
         (!client || set_fault(to_client, name, value));
}

void report(const direction& to_guest, const direction& to_client) {
  printf("{");
  to_guest.print();
  printf(", ");
  to_client.print();
  printf("}\n");
  fflush(stdout);
}

void run(direction& to_guest, direction& to_client) {
  direction* both[] = {&to_guest, &to_client};
  while (!stopped) {
    if (renewed) {
      renewed = 0;
      report(to_guest, to_client);
      for (direction* d : both)
        d->begin_anew();
    }
    uint64_t now = now_ns();
    const uint64_t due = std::min(to_guest.next_due(), to_client.next_due());
    timespec wait = {1, 0}; // also bounds how long a signal between here and ppoll() is not seen
    if (due < now + ns_per_s)
      wait = {0, static_cast<long>(due > now ? due - now : 0)};
    pollfd polled[] = {{to_guest.from, POLLIN, 0}, {to_client.from, POLLIN, 0}};
    ppoll(polled, 2, &wait, nullptr);
    now = now_ns();
    for (direction* d : both) {
      frame fr;
      for (int n = 0; n < 64 && read_frame(d->from, fr); ++n)
        d->take(std::move(fr), now);
      d->deliver(now);
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: relay CLIENT GUEST [to-guest:|to-client:]FAULT=VALUE...\n");
    return 2;
  }
  faults to_guest_faults, to_client_faults;
  for (int i = 3; i < argc; ++i) {
    if (!parse(argv[i], to_guest_faults, to_client_faults)) {
      fprintf(stderr, "relay: cannot use argument '%s'\n", argv[i]);
      return 2;
    }
  }
  const int client = open_tap(argv[1]), guest = open_packet_socket(argv[2]);
  direction to_guest{"to_guest", 0, client, guest, to_guest_faults};
  direction to_client{"to_client", 1, guest, client, to_client_faults};
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = [](int) { renewed = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  printf("relay: ready\n");
  fflush(stdout);
  run(to_guest, to_client);
  report(to_guest, to_client);
  return 0;
}
