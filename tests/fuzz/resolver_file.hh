// /etc/resolv.conf, as the machine would write it.
#pragma once

namespace fuzz {

// A finding if a line of it is none that the C library reads, or there are more than it asks.
void check_resolver_file();

} // namespace fuzz
