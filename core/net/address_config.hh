// The addresses an interface is given on the command line: ip=ADDR/LEN gw=ADDR dns=ADDR[,ADDR].
#pragma once

#include <stdint.h>

namespace oblako::net {

// Addresses are in network byte order, as they stand in a packet.
struct ipv4_config {
  static constexpr unsigned max_name_servers = 3;
  uint32_t address = 0;
  uint32_t mask = 0;
  uint32_t gateway = 0; // 0: none
  uint32_t name_servers[max_name_servers] = {};
  unsigned name_server_count = 0;
  bool more_name_servers = false; // than are kept
};

// What is wrong with an option, for the console: NAME=VALUE and `what`. No name: nothing is wrong.
struct option_complaint {
  const char* name = nullptr;
  const char* value = nullptr;
  const char* what = nullptr;
};

// Parses the options' values (nullptr where one is missing; `ip` must be there).
option_complaint parse_ipv4_config(const char* ip, const char* gateway, const char* name_servers,
                                   ipv4_config& out);

// Where captured packets go: net.capture=[ADDRESS:]PORT.
struct capture_target {
  uint32_t address = 0; // network byte order; 0: the gateway
  uint16_t port = 0;
};
bool parse_capture_target(const char* text, capture_target& out);

} // namespace oblako::net
