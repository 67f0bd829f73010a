// Name servers, for /etc/resolv.conf: those of the command line alone, or DHCP's and those that
// routers announce (RFC 8106), which go when their lifetime is over. Context: the stack's lock is
// held.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Network byte order.
void set_name_servers(const uint32_t* servers, unsigned count);
// Takes out what has expired, and brings the file up to date. Called every second, and when an
// address has come.
void refresh_name_servers();

} // namespace oblako::net
