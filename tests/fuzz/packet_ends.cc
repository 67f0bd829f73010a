// Packets end where they end: what lies behind a packet in its memory may not be read. The receive
// path leaves a few bytes there, so that short copies need not look at their length
// (core/net/interface.cc); ASan would take a parser that reads them for one that is right. The
// linker puts these functions between the interface and lwIP.
#include "lwip/etharp.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"

#include <sanitizer/asan_interface.h>

namespace {

// Until the memory is given back: ASan forgets it then.
void forbid_what_follows(const pbuf* first) {
  for (const pbuf* p = first; p; p = p->next) {
    auto* end = static_cast<char*>(p->payload) + p->len;
    char name[1];
    void* start = nullptr;
    size_t size = 0;
    __asan_locate_address(end - 1, name, sizeof name, &start, &size);
    char* limit = static_cast<char*>(start) + size;
    if (p->len != 0 && start && end < limit)
      __asan_poison_memory_region(end, static_cast<size_t>(limit - end));
  }
}

} // namespace

extern "C" {
err_t __real_ip4_input(pbuf* p, netif* n);
err_t __real_ip6_input(pbuf* p, netif* n);
void __real_etharp_input(pbuf* p, netif* n);

err_t __wrap_ip4_input(pbuf* p, netif* n) {
  forbid_what_follows(p);
  return __real_ip4_input(p, n);
}
err_t __wrap_ip6_input(pbuf* p, netif* n) {
  forbid_what_follows(p);
  return __real_ip6_input(p, n);
}
void __wrap_etharp_input(pbuf* p, netif* n) {
  forbid_what_follows(p);
  __real_etharp_input(p, n);
}
}
