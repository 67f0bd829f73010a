// DNS: the C library's resolver looks names and addresses up while servers, or whoever plays one,
// answer with anything: pointers in names, counts and lengths that are not true, answers to no
// question, from elsewhere, late or never. An answer ends where it ends: what lies behind it in the
// resolver's buffers may not be read. The functions that programs parse answers with get each of
// them too.
//
// An input is what is looked up, and a list of answers.
#include "tests/fuzz/packets.hh"
#include "tests/fuzz/script.hh"
#include "tests/fuzz/steps.hh"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <memory>
#include <netdb.h>
#include <poll.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

// --- the resolver's, see musl's src/network/lookup.h

extern "C" {
struct address {
  int family;
  unsigned scope;
  uint8_t octets[16];
  int sort_key;
};
struct resolvconf {
  address servers[3];
  unsigned count, attempts, dots, timeout;
};
constexpr int most_addresses = 48;

int __lookup_name(address* to, char* canonical, const char* name, int family, int flags);
int musl_getnameinfo(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int);
int musl_dn_skipname(const uint8_t* at, const uint8_t* end);
int musl_ns_initparse(const uint8_t*, int, ns_msg*);
int musl_ns_parserr(ns_msg*, ns_sect, int, ns_rr*);
}

using namespace fuzz;

namespace {

constexpr uint8_t silence = 0x80;        // instead of an answer
constexpr int no_descriptor = 1'000'000; // closed in earnest, see musl's res_msend.c
constexpr uint8_t servers6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53};

struct setting {
  unsigned servers;
  bool search;
} configured;
script* answers; // nullptr: no input is running
uint64_t clock_ms;
std::vector<bytes> queries; // the last ones sent
std::vector<std::pair<void*, size_t>> forbidden;

[[noreturn]] void broken(const char* what) {
  fprintf(stderr, "DNS: %s\n", what);
  abort();
}

void forbid(uint8_t* from, size_t count) {
  __asan_poison_memory_region(from, count);
  forbidden.emplace_back(from, count);
}

void allow_all() {
  for (const auto& [from, count] : forbidden)
    __asan_unpoison_memory_region(from, count);
  forbidden.clear();
}

void parse_as_programs_do(const bytes& answer) {
  const size_t count = answer.size();
  const auto exact = std::make_unique<uint8_t[]>(count); // ASan knows its end
  std::copy(answer.begin(), answer.end(), exact.get());
  ns_msg message;
  (void)musl_dn_skipname(exact.get(), exact.get() + count);
  if (musl_ns_initparse(exact.get(), static_cast<int>(count), &message) != 0)
    return;
  for (int section = 0; section < ns_s_max; ++section)
    for (int i = 0; i < ns_msg_count(message, section) && i < 100; ++i) {
      ns_rr record;
      if (musl_ns_parserr(&message, static_cast<ns_sect>(section), i, &record) != 0)
        break;
      if (strnlen(ns_rr_name(record), NS_MAXDNAME) == NS_MAXDNAME)
        broken("a name without an end");
      if (section != ns_s_qd && ns_rr_rdata(record) + ns_rr_rdlen(record) > ns_msg_end(message))
        broken("a record beyond its message");
    }
}

// One of the last queries with another header and no end, or the input's bytes alone.
bytes next_answer(uint8_t how, script& in) {
  const bytes* query = queries.empty() ? nullptr : &queries[(how >> 1 & 1) % queries.size()];
  bytes answer;
  if (how & 4 && query) {
    answer = *query;
    answer[2] = 0x80;
    answer[3] = in.byte() % 6;
    answer[7] = in.byte() % 8; // so many records
  }
  append(answer, in.some(in.word() % 600));
  if (!(how & 8) && query && answer.size() >= 2)
    std::copy_n(query->begin(), 2, answer.begin());
  return answer;
}

void source(uint8_t how, sockaddr* from, socklen_t* length) {
  const uint8_t* known = servers6;
  if (*length == sizeof(sockaddr_in6)) {
    sockaddr_in6 a = {};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(how & 0x10 ? 54 : 53);
    if (how & 0x20)
      std::copy_n(known, 16, a.sin6_addr.s6_addr);
    else
      inet_pton(AF_INET6, "::ffff:10.0.0.1", &a.sin6_addr);
    memcpy(from, &a, sizeof a);
  } else {
    sockaddr_in a = {};
    a.sin_family = AF_INET;
    a.sin_port = htons(how & 0x10 ? 54 : 53);
    a.sin_addr.s_addr = peer_ip;
    memcpy(from, &a, sizeof a);
  }
}

address server(unsigned i) {
  address a = {};
  a.family = i == 1 ? AF_INET6 : AF_INET;
  if (i == 1)
    std::copy_n(servers6, 16, a.octets);
  else
    memcpy(a.octets, &peer_ip, 4);
  return a;
}

} // namespace

// --- what the resolver asks of the system

extern "C" {
// Over TCP nothing is asked here: the resolver goes on with what the datagram held.
int musl_socket(int, int type, int) {
  return (type & 0xf) == SOCK_STREAM ? -1 : no_descriptor;
}
int musl_bind(int, const sockaddr*, socklen_t) {
  return 0;
}
int musl_setsockopt(int, int, int, const void*, socklen_t) {
  return 0;
}
int musl_close(int) {
  return 0;
}
int musl_connect(int, const sockaddr* to, socklen_t length) {
  return length == (to->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) ? 0 : -1;
}
int musl_getsockname(int, sockaddr* to, socklen_t* length) {
  memset(to, 0, *length);
  return 0;
}
ssize_t musl_sendto(int, const void* data, size_t count, int, const sockaddr*, socklen_t) {
  const auto* query = static_cast<const uint8_t*>(data);
  queries.insert(queries.begin(), bytes(query, query + count));
  queries.resize(std::min<size_t>(queries.size(), 2));
  return static_cast<ssize_t>(count);
}

// An answer is there, or time passes.
int musl_poll(pollfd*, nfds_t, int timeout) {
  if (!answers->ended() && !(*answers->at() & silence))
    return 1;
  answers->skip(1);
  clock_ms += static_cast<uint64_t>(std::max(timeout, 1));
  return 0;
}

ssize_t musl_recvfrom(int, void* to, size_t room, int, sockaddr* from, socklen_t* length) {
  if (answers->ended() || *answers->at() & silence)
    return -1;
  const uint8_t how = answers->byte();
  const bytes answer = next_answer(how, *answers);
  parse_as_programs_do(answer);
  const size_t count = std::min(answer.size(), room);
  auto* buffer = static_cast<uint8_t*>(to);
  __asan_unpoison_memory_region(buffer, room);
  std::copy_n(answer.begin(), count, buffer);
  forbid(buffer + count, room - count);
  source(how, from, length);
  return static_cast<ssize_t>(count);
}

int musl_clock_gettime(clockid_t, timespec* to) {
  to->tv_sec = static_cast<time_t>(clock_ms / 1000);
  to->tv_nsec = static_cast<long>(clock_ms % 1000 * 1'000'000 + queries.size());
  return 0;
}
int musl_pthread_setcancelstate(int, int*) {
  return 0;
}
void musl__pthread_cleanup_push(void*, void (*)(void*), void*) {}
void musl__pthread_cleanup_pop(void*, int) {}

int* ___errno_location() {
  return &errno;
}
void* __fopen_rb_ca(const char*, void*, unsigned char*, size_t) {
  errno = ENOENT;
  return nullptr;
}
int __fclose_ca(void*) {
  return 0;
}

int __get_resolv_conf(resolvconf* to, char* search, size_t room) {
  *to = {};
  to->count = configured.servers;
  for (unsigned i = 0; i < configured.servers; ++i)
    to->servers[i] = server(i);
  to->attempts = 2;
  to->dots = 1;
  to->timeout = 5;
  if (search)
    snprintf(search, room, "%s", configured.search ? "example.org  example.net" : "");
  return 0;
}
}

namespace {

void look_up(uint8_t how, uint8_t which) {
  constexpr const char* names[] = {
      "host", "host.example.org", "a.b.", "x..y", "very-long-label", "localhost.", "1.2.3",
      "host."};
  constexpr int families[] = {AF_UNSPEC, AF_INET, AF_INET6, AF_INET6};
  const int flags = (how & 4 ? AI_V4MAPPED : 0) | (how & 8 ? AI_ALL : 0);
  address found[most_addresses] = {};
  char canonical[256];
  const int count =
      __lookup_name(found, canonical, names[which % std::size(names)], families[how & 3], flags);
  if (count > most_addresses)
    broken("more addresses than there is room for");
  for (int i = 0; i < count; ++i)
    if (found[i].family != AF_INET && found[i].family != AF_INET6)
      broken("an address of no family");
}

void look_back(uint8_t how) {
  sockaddr_storage a = {};
  socklen_t length = sizeof(sockaddr_in6);
  a.ss_family = how & 1 ? AF_INET : AF_INET6;
  char name[300];
  if (musl_getnameinfo(reinterpret_cast<sockaddr*>(&a), length, name, sizeof name, nullptr, 0, 0) ==
      0)
    for (const char* c = name; *c; ++c)
      if (*c > 0 && *c <= ' ')
        broken("a host's name with a control character");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  script in(data, size);
  const uint8_t how = in.byte(), which = in.byte();
  configured = {1u + (how >> 5 & 3) % 3, (how & 0x80) != 0};
  answers = &in;
  clock_ms = 1'000'000;
  queries.clear();
  {
    // Each of its attempts takes some hundred steps whether an answer comes or not.
    constexpr size_t attempts = 10'000;
    bounded_call call("a lookup", size + attempts, 0);
    if (how & 0x10)
      look_back(how);
    else
      look_up(how, which);
  }
  allow_all();
  answers = nullptr;
  return 0;
}
