// What ioctl() on a socket tells about network interfaces: SIOCGIFCONF and its relatives.
#pragma once

#include "core/base/result.hh"

namespace oblako::net {

// Errors: notty (not a request about interfaces), nodev (no such interface), fault.
result<long> interface_control(unsigned long request, void* app_argument);

} // namespace oblako::net
