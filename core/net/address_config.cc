#include "core/net/address_config.hh"

#include <stddef.h>

namespace oblako::net {
namespace {

// Takes a decimal number of at most `limit` from the front of the text.
bool take_number(const char*& text, uint32_t limit, uint32_t& out) {
  uint32_t value = 0;
  const char* start = text;
  for (; *text >= '0' && *text <= '9'; ++text) {
    value = value * 10 + static_cast<uint32_t>(*text - '0');
    if (value > limit || text - start >= 5)
      return false;
  }
  out = value;
  return text != start;
}

bool take_address(const char*& text, uint32_t& out) {
  uint32_t address = 0;
  for (unsigned i = 0; i < 4; ++i) {
    uint32_t byte;
    if (i != 0 && *text++ != '.')
      return false;
    if (!take_number(text, 255, byte))
      return false;
    address |= byte << (8 * i);
  }
  out = address;
  return true;
}

bool take_name_servers(const char* text, ipv4_config& out) {
  for (;;) {
    uint32_t address;
    if (!take_address(text, address))
      return false;
    if (out.name_server_count < ipv4_config::max_name_servers)
      out.name_servers[out.name_server_count++] = address;
    if (*text == 0)
      return true;
    if (*text++ != ',')
      return false;
  }
}

} // namespace

bool parse_ipv4_config(const char* ip, const char* gateway, const char* name_servers,
                       ipv4_config& out, const char*& complaint) {
  out = {};
  uint32_t length = 0;
  complaint = "ip= is ADDRESS/LENGTH, for example ip=192.168.1.10/24";
  if (!take_address(ip, out.address) || *ip++ != '/' || !take_number(ip, 32, length) || *ip != 0)
    return false;
  complaint = "ip= is not an address a host can have";
  if (length == 0 || (out.address & 0xff) == 0 || (out.address & 0xff) >= 224)
    return false;
  out.mask = __builtin_bswap32(~uint32_t{0} << (32 - length));
  complaint = "gw= is not an address";
  if (gateway && (!take_address(gateway, out.gateway) || *gateway != 0))
    return false;
  complaint = "gw= is not on the network that ip= names";
  if (gateway && (out.gateway & out.mask) != (out.address & out.mask))
    return false;
  complaint = "dns= is ADDRESS[,ADDRESS...]";
  if (name_servers && !take_name_servers(name_servers, out))
    return false;
  complaint = nullptr;
  return true;
}

bool parse_capture_target(const char* text, capture_target& out) {
  out = {};
  bool has_address = false;
  for (const char* c = text; *c; ++c)
    has_address |= *c == ':';
  if (has_address && (!take_address(text, out.address) || *text++ != ':'))
    return false;
  uint32_t port;
  if (!take_number(text, 65535, port) || port == 0 || *text != 0)
    return false;
  out.port = static_cast<uint16_t>(port);
  return true;
}

} // namespace oblako::net
