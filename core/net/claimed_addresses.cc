#include "core/net/claimed_addresses.hh"

#include "core/base/types.hh"
#include "core/log/log.hh"
#include "core/net/interface_internal.hh"
#include "core/net/martians.hh"
#include "core/net/port.hh"
#include "core/net/siphash.hh"
#include "core/time/clock.hh"
#include "hooks.h"
#include "lwip/etharp.h"
#include "lwip/ip6_addr.h"
#include "lwip/prot/nd6.h"

namespace oblako::net {
namespace {

constexpr unsigned max_interfaces = 16, most_tries = 3; // of identifiers, one after the other
constexpr uint64_t retry_after = 60 * time::ns_per_s, between_defences = 10 * time::ns_per_s,
                   between_lines = 600 * time::ns_per_s;
constexpr uint8_t nonce_option = 14, nonce_bytes = 6; // RFC 3971, 5.3.2

struct address_test {
  uint8_t nonce[nonce_bytes]; // of our last solicitation
  uint8_t tries, counter;     // identifiers since it was given up, and in all (DAD_Counter)
  uint64_t given_up;          // when; 0: it was not
};

struct {
  address_test tests[LWIP_IPV6_NUM_ADDRESSES];
  uint64_t next_defence, next_line;
} states[max_interfaces];
siphash_key identifier_key;

auto& state_of(const netif& n) {
  return states[n.num % max_interfaces];
}

int number(const netif& n) {
  return n.num - 1;
}

// One line in ten minutes for claims of addresses that stay ours, whoever sends how many of them.
bool may_log(const netif& n) {
  auto& s = state_of(n);
  const uint64_t now = time::monotonic_ns();
  if (now < s.next_line)
    return false;
  s.next_line = now + between_lines;
  return true;
}

void log_address(const netif& n, const ip6_addr_t& a, const char* what) {
  char text[IP6ADDR_STRLEN_MAX];
  if (!ip6addr_ntoa_r(&a, text, sizeof text))
    return;
  for (char* c = text; *c; ++c) // RFC 5952, 4.3
    *c = static_cast<char>(*c >= 'A' && *c <= 'F' ? *c + 'a' - 'A' : *c);
  log::warning("net: %c%c%d: %s %s", n.name[0], n.name[1], number(n), text, what);
}

// RFC 7217, 5, with a secret of this boot: an identifier that nobody can tell before it is tested.
void make_identifier(netif& n, s8_t i, uint8_t counter) {
  if ((identifier_key.k0 | identifier_key.k1) == 0)
    identifier_key = {uint64_t{random_word()} << 32 | random_word(),
                      uint64_t{random_word()} << 32 | 1};
  struct {
    uint32_t prefix[2];
    uint8_t mac[6], counter, unused;
  } of = {{netif_ip6_addr(&n, i)->addr[0], netif_ip6_addr(&n, i)->addr[1]}, {}, counter, 0};
  __builtin_memcpy(of.mac, n.hwaddr, sizeof of.mac);
  const uint64_t id = siphash_2_4(identifier_key, &of, sizeof of);
  ip6_addr_t& a = *ip_2_ip6(&n.ip6_addr[i]);
  __builtin_memcpy(&a.addr[2], &id, sizeof id);
}

void test_another(netif& n, s8_t i) {
  address_test& t = state_of(n).tests[i];
  ++t.tries;
  make_identifier(n, i, ++t.counter);
  netif_ip6_addr_set_state(&n, i, IP6_ADDR_TENTATIVE);
}

void claimed_while_tested(netif& n, s8_t i) {
  address_test& t = state_of(n).tests[i];
  if (t.tries < most_tries) {
    log_address(n, *netif_ip6_addr(&n, i),
                "is somebody else's: trying another interface identifier");
    return test_another(n, i);
  }
  if (t.counter <= most_tries)
    log_address(n, *netif_ip6_addr(&n, i),
                "is somebody else's, as all before: trying again each minute");
  t.given_up = time::monotonic_ns();
  netif_ip6_addr_set_state(&n, i, IP6_ADDR_DUPLICATED);
}

// --- ARP

bool is_one_station(const uint8_t* mac) {
  uint8_t all = 0;
  for (unsigned i = 0; i < ETH_HWADDR_LEN; ++i)
    all |= mac[i];
  return all != 0 && !(mac[0] & 1);
}

void defend(netif& n, const uint8_t* mac) {
  auto& s = state_of(n);
  if (may_log(n)) {
    const uint32_t a = ip4_addr_get_u32(netif_ip4_addr(&n));
    log::warning("net: %c%c%d: %u.%u.%u.%u is claimed by %02x:%02x:%02x:%02x:%02x:%02x, too",
                 n.name[0], n.name[1], number(n), a & 0xff, a >> 8 & 0xff, a >> 16 & 0xff, a >> 24,
                 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  }
  const uint64_t now = time::monotonic_ns();
  if (now < s.next_defence)
    return;
  s.next_defence = now + between_defences;
  etharp_gratuitous(&n);
}

} // namespace

void try_addresses_again(netif& n) {
  auto& s = state_of(n);
  for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
    address_test& t = s.tests[i];
    if (ip6_addr_isvalid(netif_ip6_addr_state(&n, i)))
      t.tries = 0;
    if (t.given_up == 0 || time::monotonic_ns() - t.given_up < retry_after)
      continue;
    t.given_up = 0;
    if (ip6_addr_isduplicated(netif_ip6_addr_state(&n, i)))
      test_another(n, i); // one; its conflict is followed by another minute
  }
}

} // namespace oblako::net

using namespace oblako;
using namespace oblako::net;

extern "C" {

// Somebody else has the interface's address with this number, or wants to.
void oblako_nd6_conflict(netif* n, s8_t i) {
  if (ip6_addr_istentative(netif_ip6_addr_state(n, i)))
    claimed_while_tested(*n, i);
  else if (may_log(*n))
    log_address(*n, *netif_ip6_addr(n, i), "is claimed by somebody else, too");
}

void oblako_nd6_nonce(netif* n, const ip6_addr_t* target, u8_t* option) {
  const uint32_t words[2] = {random_word(), random_word()};
  option[0] = nonce_option;
  option[1] = 1; // times 8 octets
  __builtin_memcpy(option + 2, words, nonce_bytes);
  for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i)
    if (ip6_addr_cmp(target, netif_ip6_addr(n, i)))
      __builtin_memcpy(state_of(*n).tests[i].nonce, option + 2, nonce_bytes);
}

// `p` begins with a neighbour solicitation. True if its nonce is that of our last one.
u8_t oblako_nd6_looped_back(const pbuf* p, netif* n, s8_t i) {
  uint8_t option[2 + nonce_bytes];
  for (u16_t at = sizeof(ns_header);;) {
    if (pbuf_copy_partial(p, option, sizeof option, at) != sizeof option || option[1] == 0)
      return 0;
    if (option[0] == nonce_option && option[1] == 1)
      return __builtin_memcmp(option + 2, state_of(*n).tests[i].nonce, nonce_bytes) == 0;
    if (uint32_t{at} + 8u * option[1] >= p->tot_len)
      return 0;
    at = static_cast<u16_t>(at + 8 * option[1]);
  }
}

// Requests and answers of one station about an address that it can have. Who looks whether an
// address is free has none (RFC 5227).
u8_t oblako_arp_usable(netif* n, const etharp_hdr* m) {
  const uint8_t* mac = m->shwaddr.addr;
  uint32_t sender;
  __builtin_memcpy(&sender, &m->sipaddr, sizeof sender);
  if ((m->opcode != PP_HTONS(ARP_REQUEST) && m->opcode != PP_HTONS(ARP_REPLY)) ||
      !is_one_station(mac) || __builtin_memcmp(mac, n->hwaddr, ETH_HWADDR_LEN) == 0)
    return 0;
  if (sender == 0)
    return m->opcode == PP_HTONS(ARP_REQUEST);
  if (sender == ip4_addr_get_u32(netif_ip4_addr(n))) {
    defend(*n, mac);
    return 0;
  }
  return !is_martian_source(sender);
}

} // extern "C"
