// What /proc/net tells. Offered weakly to core/fs/proc.cc: an image without sockets has none of it,
// and one without files does not link it.
#pragma once

namespace oblako::fs {
class text_builder;
}

namespace oblako::net {

[[gnu::weak]] void write_proc_tcp(fs::text_builder& out);
[[gnu::weak]] void write_proc_tcp6(fs::text_builder& out);
[[gnu::weak]] void write_proc_udp(fs::text_builder& out);
[[gnu::weak]] void write_proc_udp6(fs::text_builder& out);
[[gnu::weak]] void write_proc_unix(fs::text_builder& out);
[[gnu::weak]] void write_proc_dev(fs::text_builder& out);
[[gnu::weak]] void write_proc_route(fs::text_builder& out);
[[gnu::weak]] void write_proc_if_inet6(fs::text_builder& out);
[[gnu::weak]] void write_proc_arp(fs::text_builder& out);
[[gnu::weak]] void write_proc_netstat(fs::text_builder& out);
[[gnu::weak]] void write_proc_sockstat(fs::text_builder& out);

} // namespace oblako::net
