// The files that programs with a network expect in /etc: hosts, with the machine's own name, and
// the names of common services and protocols. A recipe's own files go before them.
#include "core/boot/options.hh"
#include "core/fs/node.hh"
#include "core/log/log.hh"

extern "C" {
// What makes this file be linked (core/base/needs.hh).
extern const char oblako_network_files;
const char oblako_network_files = 0;
}

namespace oblako::fs {
namespace {

constexpr const char* services = "ftp\t21/tcp\nssh\t22/tcp\ntelnet\t23/tcp\nsmtp\t25/tcp\n"
                                 "domain\t53/tcp\ndomain\t53/udp\ntftp\t69/udp\n"
                                 "http\t80/tcp\nwww\t80/tcp\npop3\t110/tcp\nntp\t123/udp\n"
                                 "imap2\t143/tcp\nsnmp\t161/udp\nldap\t389/tcp\n"
                                 "https\t443/tcp\nhttps\t443/udp\nsyslog\t514/udp\n"
                                 "submission\t587/tcp\nldaps\t636/tcp\nimaps\t993/tcp\n"
                                 "pop3s\t995/tcp\nmysql\t3306/tcp\npostgresql\t5432/tcp\n"
                                 "redis\t6379/tcp\nhttp-alt\t8080/tcp\n";
constexpr const char* protocols = "ip\t0\tIP\nicmp\t1\tICMP\ntcp\t6\tTCP\nudp\t17\tUDP\n"
                                  "ipv6\t41\tIPv6\nipv6-icmp\t58\tIPv6-ICMP\n";

constexpr size_t longest_host_name = 64;
char hosts[48 + longest_host_name];
const provided_file files[] = {
    {"/etc/hosts", hosts}, {"/etc/services", services}, {"/etc/protocols", protocols}};

} // namespace

const provided_file* network_file(unsigned n) {
  if (n >= sizeof files / sizeof *files)
    return nullptr;
  if (hosts[0] == 0)
    log::format(hosts, sizeof hosts, "127.0.0.1\tlocalhost %s\n::1\tlocalhost\n",
                boot::host_name());
  return &files[n];
}

} // namespace oblako::fs
