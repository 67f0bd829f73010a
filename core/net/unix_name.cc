// Names of local sockets. A path names a node in the file tree, which stays when the socket goes;
// an abstract name exists as long as its socket. An image without a file system has only the text.
#include "core/base/late.hh"
#include "core/fs/socket_name.hh"
#include "core/net/unix_socket_internal.hh"

namespace oblako::net {
namespace {

// By the node of a name that is a path, else by the name's bytes.
struct name_key {
  const fs::node* node;
  const unix_name* name;

  bool operator<(const name_key& o) const {
    if (node || o.node)
      return node < o.node;
    const int order = memcmp(name->text, o.name->text, min_of(name->length, o.name->length));
    return order != 0 ? order < 0 : name->length < o.name->length;
  }
};

} // namespace

struct key_of_unix_name {
  using type = name_key;
  name_key operator()(const unix_socket& s) const { return {s.node_.get(), &s.name_}; }
};

namespace {

using name_table = boost::intrusive::set<unix_socket, boost::intrusive::base_hook<unix_name_hook>,
                                         boost::intrusive::key_of_value<key_of_unix_name>,
                                         boost::intrusive::constant_time_size<false>>;
late<name_table> names_storage;
bool names_made;

name_table& names() {
  if (!names_made) {
    names_storage.construct();
    names_made = true;
  }
  return *names_storage;
}

text path_of(const unix_name& n) {
  return {n.text, n.length};
}

} // namespace

result<unix_name> unix_name_from(const socket_address& a) {
  const auto& un = reinterpret_cast<const sockaddr_un&>(a.storage);
  if (a.length < sizeof(sa_family_t) || un.sun_family != AF_UNIX || a.length > sizeof un)
    return error::inval;
  unix_name n;
  if (a.length <= offsetof(sockaddr_un, sun_path))
    return n; // unnamed
  n.length = a.length - static_cast<uint32_t>(offsetof(sockaddr_un, sun_path));
  memcpy(n.text, un.sun_path, n.length);
  if (n.text[0] != 0)
    n.length = static_cast<uint32_t>(strnlen(n.text, n.length));
  return n;
}

void unix_name_to(const unix_name& n, socket_address& out) {
  auto& un = reinterpret_cast<sockaddr_un&>(out.storage);
  memset(&un, 0, sizeof un);
  un.sun_family = AF_UNIX;
  memcpy(un.sun_path, n.text, n.length);
  const bool terminated = n.is_path() && n.length < sizeof un.sun_path;
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path)) + n.length + terminated;
}

unix_socket* find_unix_name(const unix_name& n, const fs::node* node) {
  auto found = names().find(name_key{node, &n});
  return found == names().end() ? nullptr : &*found;
}

result<mem::ref<fs::node>> unix_name_node(const unix_name& n) {
  if (!n.is_path() || !fs::find_socket_name)
    return mem::ref<fs::node>();
  return fs::find_socket_name(path_of(n));
}

// An abstract name of five hexadecimal digits that is free. Lock held.
result<void> unix_socket::choose_name(unix_name& n) {
  static uint32_t next_name;
  for (unsigned attempt = 0; attempt < 1u << 20; ++attempt) {
    n = {};
    n.length = 6;
    uint32_t number = next_name++;
    for (unsigned i = 5; i > 0; --i, number >>= 4)
      n.text[i] = "0123456789abcdef"[number & 15];
    if (!find_unix_name(n, nullptr))
      return {};
  }
  return error::addrinuse;
}

result<void> unix_socket::bind(const socket_address& local) {
  unix_name wanted = TRY(unix_name_from(local));
  {
    unix_guard guard(unix_lock);
    if (bound_ || binding_ || finished_)
      return error::inval;
    if (wanted.length == 0)
      TRY(choose_name(wanted));
    binding_ = true;
  }
  // The tree's lock comes before ours.
  const bool named_by_node = wanted.is_path() && fs::make_socket_name;
  auto made = named_by_node ? fs::make_socket_name(path_of(wanted))
                            : result<mem::ref<fs::node>>(mem::ref<fs::node>());
  unix_guard guard(unix_lock);
  binding_ = false;
  if (!made.ok())
    return made.code() == error::exist ? error::addrinuse : made.code();
  if (!named_by_node && find_unix_name(wanted, nullptr))
    return error::addrinuse;
  name_ = wanted;
  node_ = made.take();
  bound_ = true;
  names().insert(*this);
  return {};
}

void unix_socket::forget_name() {
  if (bound_)
    names().erase(names().iterator_to(*this));
  bound_ = false;
}

} // namespace oblako::net
