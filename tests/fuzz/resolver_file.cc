#include "tests/fuzz/resolver_file.hh"

#include "core/fs/node.hh"
#include <arpa/inet.h>
#include <sstream>
#include <stdio.h>
#include <stdlib.h>
#include <string>

using namespace oblako;

namespace {

std::string contents;

[[noreturn]] void broken(const std::string& line) {
  fprintf(stderr, "resolv.conf: \"%s\" in\n%s", line.c_str(), contents.c_str());
  abort();
}

// An IPv6 address may have a zone, for link-local ones.
bool is_address(std::string text) {
  in_addr a;
  in6_addr a6;
  if (inet_pton(AF_INET, text.c_str(), &a) == 1)
    return true;
  const size_t zone = text.find('%');
  const bool has_zone = zone != std::string::npos;
  if (has_zone)
    text.resize(zone);
  return inet_pton(AF_INET6, text.c_str(), &a6) == 1 && IN6_IS_ADDR_LINKLOCAL(&a6) == has_zone;
}

} // namespace

oblako::result<void> oblako::fs::write_boot_file(const char*, const char* data, size_t size) {
  contents.assign(data, size);
  return {};
}

void fuzz::check_resolver_file() {
  const std::string keyword = "nameserver ";
  constexpr size_t most = 6; // three from each source
  std::istringstream lines(contents);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    if (line.compare(0, keyword.size(), keyword) != 0 || !is_address(line.substr(keyword.size())))
      broken(line);
  if (count > most || (!contents.empty() && contents.back() != '\n'))
    broken("too much");
}
