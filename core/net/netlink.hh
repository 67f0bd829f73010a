// Netlink sockets (AF_NETLINK), the part of NETLINK_ROUTE that getifaddrs(), if_nameindex() and
// their like in other libraries ask: lists of interfaces and of their addresses. Nothing is changed
// by it and no news are sent. Spec: rtnetlink(7), netlink(7); RFC 3549.
#pragma once

#include "core/net/socket.hh"

namespace oblako::net {

namespace spec {

struct netlink_address {
  uint16_t family, pad;
  uint32_t port, groups;
};
static_assert(sizeof(netlink_address) == 12);

struct netlink_header {
  uint32_t length;
  uint16_t type, flags;
  uint32_t sequence, port;
};
static_assert(sizeof(netlink_header) == 16);

struct netlink_attribute {
  uint16_t length, type;
};
static_assert(sizeof(netlink_attribute) == 4);

// RTM_NEWLINK's
struct link_info {
  uint8_t family, pad;
  uint16_t hardware_type;
  int32_t index;
  uint32_t flags, change;
};
static_assert(sizeof(link_info) == 16);

// RTM_NEWADDR's
struct address_info {
  uint8_t family, prefix_length, flags, scope;
  uint32_t index;
};
static_assert(sizeof(address_info) == 8);

constexpr uint16_t netlink_error = 2, netlink_done = 3;
constexpr uint16_t new_link = 16, get_link = 18, new_address = 20, get_address = 22;
constexpr uint16_t part_of_many = 2, whole_list = 0x300; // flags
constexpr uint16_t link_address = 1, link_broadcast = 2, link_name = 3, link_mtu = 4;
constexpr uint16_t interface_address = 1, local_address = 2, address_label = 3,
                   broadcast_address = 4;

} // namespace spec

// What is written into a reply: messages, each with its attributes, all 4-byte aligned. What finds
// no room is left out.
class netlink_writer {
public:
  netlink_writer(uint8_t* buffer, size_t room, const spec::netlink_header& request, uint32_t port)
      : buffer_(buffer), room_(room), request_(request), port_(port) {}

  // Begins a message, which the next begin() or finish() ends.
  void begin(uint16_t type, uint16_t flags, const void* body, size_t bytes);
  void attribute(uint16_t type, const void* value, size_t bytes);
  // The size of all.
  size_t finish();

private:
  void append(const void* from, size_t bytes);
  void end_message();

  uint8_t* const buffer_;
  const size_t room_;
  const spec::netlink_header request_;
  const uint32_t port_;
  size_t used_ = 0, message_ = 0;
};

// A buffer of this size holds either list and its end, or a refusal. Context: the stack's lock
// held.
size_t list_size();
// Context: the stack's lock held.
void list_links(netlink_writer& out);
// `family`: AF_INET, AF_INET6, or 0 for both.
void list_addresses(netlink_writer& out, uint8_t family);

// Errors: socktnosupport, protonosupport, nomem.
result<mem::ref<socket>> make_netlink_socket(int type, int protocol, uint32_t status_flags);

} // namespace oblako::net
