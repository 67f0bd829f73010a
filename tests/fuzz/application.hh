// The application that the fuzzed network serves: a listener, datagram sockets, and the connections
// that it accepted or opened. Its calls are bounded too (steps.hh).
#pragma once

#include "core/net/tcp_socket.hh"
#include "core/net/udp_socket.hh"
#include "tests/fuzz/script.hh"
#include <vector>

namespace fuzz {

class application {
public:
  void open();
  void close_streams();
  void close();

  // Takes a connection if there is one.
  void accept();
  void connect(bool v6, uint16_t port);
  // One call on a stream, as the script's bytes say.
  void act(script& in);
  // One call on a datagram socket; over IPv6 if its number is odd, and connected from 2 on.
  enum class datagram_call { send, receive, peek, error };
  void use_datagrams(unsigned which, datagram_call what, size_t count);
  // A server's round: accepts who waits, then takes up to `reads` bytes from every connection and
  // writes `writes`.
  void serve(size_t reads, size_t writes);
  size_t streams() const { return streams_.size(); }

private:
  oblako::mem::ref<oblako::net::tcp_socket> listener_;
  // Bound over each family, then connected over each.
  std::vector<oblako::mem::ref<oblako::net::udp_socket>> datagrams_;
  std::vector<oblako::mem::ref<oblako::net::socket>> streams_;
};

} // namespace fuzz
