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
    else
      out.more_name_servers = true;
    if (*text == 0)
      return true;
    if (*text++ != ',')
      return false;
  }
}

// A host's address: not this network, loopback, multicast or reserved (RFC 6890).
bool can_be_a_host(uint32_t address) {
  const uint32_t first = address & 0xff;
  return first != 0 && first != 127 && first < 224;
}

// Neither the name of its network nor its broadcast address; both mean nothing in /31 and /32.
bool can_be_a_host_there(uint32_t address, uint32_t mask) {
  const uint32_t host = address & ~mask;
  return __builtin_bswap32(~mask) <= 1 || (host != 0 && host != ~mask);
}

} // namespace

option_complaint parse_ipv4_config(const char* ip, const char* gateway, const char* name_servers,
                                   ipv4_config& out) {
  out = {};
  uint32_t length = 0;
  const char* text = ip;
  if (!take_address(text, out.address) || *text++ != '/' || !take_number(text, 32, length) ||
      *text != 0 || length == 0)
    return {"ip", ip, "is not ADDRESS/LENGTH, for example ip=192.168.1.10/24"};
  out.mask = __builtin_bswap32(~uint32_t{0} << (32 - length));
  if (!can_be_a_host(out.address) || !can_be_a_host_there(out.address, out.mask))
    return {"ip", ip, "is not an address that a host can have"};
  text = gateway;
  if (gateway && (!take_address(text, out.gateway) || *text != 0 || !can_be_a_host(out.gateway)))
    return {"gw", gateway, "is not the address of a gateway, for example gw=192.168.1.1"};
  // On a network of one address the gateway is always beside it; it is on the same link.
  if (gateway && length < 32 && (out.gateway & out.mask) != (out.address & out.mask))
    return {"gw", gateway, "is not on the network that ip= names"};
  if (gateway && out.gateway == out.address)
    return {"gw", gateway, "is the machine's own address"};
  if (name_servers && !take_name_servers(name_servers, out))
    return {"dns", name_servers, "is not ADDRESS[,ADDRESS...]"};
  return {};
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
