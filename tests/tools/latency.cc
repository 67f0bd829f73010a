// Latency of redis under a load of its own: requests leave at a fixed rate whether or not answers
// have come, and each answer is timed from when its request was due, so that a server that stalls
// is charged for all who would have asked meanwhile.
//
//   latency ADDRESS PORT RATE SECONDS CONNECTIONS
//
// Prints a line of JSON: how many were answered, and percentiles. Units: requests a second, us.
#include <algorithm>
#include <arpa/inet.h>
#include <deque>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr char request[] = "*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n";
constexpr size_t request_size = sizeof request - 1;
constexpr size_t answer_size = 5; // "$-1\r\n"
constexpr double patience = 10e9; // ns after the last request

struct connection {
  int fd;
  std::deque<double> due; // of the requests that are not answered
  size_t partial = 0;     // bytes of the next answer that are here
};

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
  exit(1);
}

double now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

int connect_to(const char* address, int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
      connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    fail(address);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

void take_answers(connection& c, std::vector<double>& latencies) {
  char buffer[4096];
  const ssize_t n = recv(c.fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN))
    fail("connection lost");
  if (n < 0)
    return;
  const double now = now_ns();
  c.partial += static_cast<size_t>(n);
  for (; c.partial >= answer_size && !c.due.empty(); c.partial -= answer_size) {
    latencies.push_back(now - c.due.front());
    c.due.pop_front();
  }
}

void print(std::vector<double>& latencies, size_t asked) {
  std::sort(latencies.begin(), latencies.end());
  auto at = [&](double part) {
    const auto index = static_cast<size_t>(part * static_cast<double>(latencies.size()));
    return latencies.empty() ? 0 : latencies[std::min(index, latencies.size() - 1)] / 1000;
  };
  printf("{\"asked\": %zu, \"answered\": %zu, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
         "\"p99.9\": %.1f, \"max\": %.1f}\n",
         asked, latencies.size(), at(0.5), at(0.9), at(0.99), at(0.999), at(1));
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: latency ADDRESS PORT RATE SECONDS CONNECTIONS\n");
    return 2;
  }
  const double gap = 1e9 / atof(argv[3]);
  const auto total = static_cast<size_t>(atof(argv[3]) * atof(argv[4]));
  const auto count = static_cast<size_t>(atoi(argv[5]));
  std::vector<connection> all;
  std::vector<pollfd> polled;
  for (size_t i = 0; i < count; ++i) {
    all.push_back({connect_to(argv[1], atoi(argv[2])), {}});
    polled.push_back({all.back().fd, POLLIN, 0});
  }
  std::vector<double> latencies;
  latencies.reserve(total);
  const double start = now_ns();
  size_t asked = 0;
  while (latencies.size() < total) {
    const double now = now_ns();
    for (; asked < total && start + static_cast<double>(asked) * gap <= now; ++asked) {
      connection& c = all[asked % count];
      if (send(c.fd, request, request_size, 0) != static_cast<ssize_t>(request_size))
        fail("send");
      c.due.push_back(start + static_cast<double>(asked) * gap);
    }
    const double next = start + static_cast<double>(asked) * gap;
    if (asked == total && now > next + patience)
      break;
    const double wait = asked == total ? 1e8 : std::max(0.0, next - now_ns());
    timespec timeout = {0, static_cast<long>(std::min(wait, 1e8))};
    if (ppoll(polled.data(), polled.size(), &timeout, nullptr) <= 0)
      continue;
    for (size_t i = 0; i < count; ++i)
      if (polled[i].revents)
        take_answers(all[i], latencies);
  }
  print(latencies, asked);
  return latencies.size() == total ? 0 : 1;
}
