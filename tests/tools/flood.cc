// Sends frames at a steady rate: flood INTERFACE FILE RATE SECONDS. The file holds frames, each
// behind its length (16 bits, little-endian); they are sent in turn, again from the beginning at
// the end. What a busy host keeps us from sending in time is left out, so that no burst makes up
// for it. Prints how many frames were sent.
#include <arpa/inet.h>
#include <errno.h>
#include <fstream>
#include <iterator>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/socket.h>
#include <time.h>
#include <vector>

namespace {

using frames = std::vector<std::string>;

frames read_frames(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  frames out;
  for (size_t at = 0; at + 2 <= all.size();) {
    const size_t size = static_cast<unsigned char>(all[at]) |
                        static_cast<size_t>(static_cast<unsigned char>(all[at + 1])) << 8;
    out.push_back(all.substr(at + 2, size));
    at += 2 + size;
  }
  return out;
}

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

int open_interface(const char* name) {
  const int fd = socket(AF_PACKET, SOCK_RAW, 0);
  sockaddr_ll to = {};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETH_P_ALL);
  to.sll_ifindex = static_cast<int>(if_nametoindex(name));
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&to), sizeof to)) {
    perror(name);
    exit(1);
  }
  return fd;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 5)
    return 2;
  const frames all = read_frames(argv[2]);
  const double rate = atof(argv[3]), seconds = atof(argv[4]);
  if (all.empty() || rate <= 0)
    return 2;
  const int fd = open_interface(argv[1]);
  constexpr double tick = 0.001, most_behind = 0.01;
  const double start = now();
  double due = start;
  size_t sent = 0, next = 0;
  while (now() - start < seconds) {
    if (now() - due > most_behind)
      due = now() - most_behind;
    for (double t; due <= (t = now()) && t - start < seconds; due += 1 / rate, ++next) {
      const std::string& frame = all[next % all.size()];
      if (send(fd, frame.data(), frame.size(), 0) >= 0)
        ++sent;
      else if (errno != ENOBUFS && errno != EINTR) {
        perror("send");
        return 1;
      }
    }
    timespec pause = {0, static_cast<long>(tick * 1e9)};
    nanosleep(&pause, nullptr);
  }
  printf("%zu\n", sent);
}
