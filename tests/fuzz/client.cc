#include "tests/fuzz/client.hh"

#include <stdio.h>
#include <stdlib.h>

using namespace oblako;

namespace fuzz {
namespace {

constexpr uint8_t fin = 1, syn = 2, reset = 4, push = 8, ack = 16;

connection* known(const connection& c) {
  auto& all = devices[0].connections;
  const auto seen = std::find_if(all.begin(), all.end(), [&](const connection& k) {
    return k.peer_port == c.peer_port && k.ipv6 == c.ipv6 && k.our_port == c.our_port;
  });
  return seen == all.end() ? nullptr : &*seen;
}

void say(const connection& c, uint8_t flags, uint32_t sequence, const bytes& payload = {}) {
  deliver_ip(c.ipv6, 6, tcp_segment(c, flags, sequence, c.sent, 0xffff, {}, payload),
             net::checksum_state::verified);
  run_stack();
}

[[noreturn]] void not_served(const char* what) {
  fprintf(stderr, "service: a good client %s\n", what);
  abort();
}

} // namespace

bool shake_hands(connection& c, const handshake& h) {
  deliver_ip(c.ipv6, 6, tcp_segment(c, syn, clients_first, 0, h.window, h.options, {}),
             net::checksum_state::verified);
  run_stack();
  const connection* seen = known(c);
  if (!seen)
    return false;
  c = *seen;
  if (!h.complete)
    return true;
  deliver_ip(c.ipv6, 6, tcp_segment(c, ack, clients_first + 1, c.sent, h.window, {}, {}),
             net::checksum_state::verified);
  run_stack();
  return true;
}

void check_service(application& app) {
  constexpr uint32_t request = 100, answer = 700;
  app.open();
  greet();
  connection c{false, listening_port, 60'000};
  if (!shake_hands(c, {}))
    not_served("has no connection");
  say(c, push | ack, clients_first + 1, pattern(request));
  app.serve(request, answer);
  run_stack();
  const connection* after = known(c);
  if (after->acknowledged != clients_first + 1 + request)
    not_served("is not heard");
  if (after->sent - c.sent != answer)
    not_served("gets no answer");
  say(*after, reset | ack, after->acknowledged);
  app.close();
}

void warm_up(application& app) {
  begin();
  app.open();
  for (const bool v6 : {false, true}) {
    connection c{v6, listening_port, 1000};
    shake_hands(c, {});
    app.accept();
    app.close_streams();
    run_stack();
    say(*known(c), fin | ack, clients_first + 1);
  }
  // A packet so long that a path might not take it is remembered (core/net/sent_packets.hh).
  app.use_datagrams(0, application::datagram_call::send, 1400);
  app.close();
  check_service(app);
  settle();
}

} // namespace fuzz
