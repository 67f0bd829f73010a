// How much a connection may have under way, but for its recoveries: slow start (RFC 5681) and CUBIC
// (cubic.hh). Private to core/net.
#pragma once

#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// So many octets are newly acknowledged, and `flight` were under way before. A window of which half
// was not in use does not grow: nothing is known of it (RFC 9438, 5.8; RFC 7661).
void grow_window(tcp_pcb& c, uint32_t& window, uint32_t acknowledged, uint32_t flight);

// Something is lost, with this window: the threshold becomes what the window is to be reduced to.
void reduce_threshold(tcp_pcb& c, uint32_t window);

} // namespace oblako::net
