#include "core/fs/packed_root.hh"
#include <sys/stat.h>

namespace oblako::fs {

namespace {

// True if [offset, offset + size) lies within `limit`.
bool inside(uint64_t offset, uint64_t size, uint64_t limit) {
  return offset <= limit && size <= limit - offset;
}

template <class T>
T load(const uint8_t* from) {
  T value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

// A file larger than this is damage, not data; so is a time behind the year 2500.
constexpr uint64_t largest_file = uint64_t{1} << 40;
constexpr uint64_t latest_time = uint64_t{1} << 34;

} // namespace

result<packed_root> packed_root::open(const uint8_t* blob, size_t size) {
  if (size < sizeof(packed::header))
    return error::io;
  const auto h = load<packed::header>(blob);
  if (__builtin_memcmp(h.magic, packed::magic, sizeof h.magic) != 0 ||
      h.version != packed::version || h.total_size > size || h.node_count == 0 ||
      !inside(h.nodes_offset, uint64_t{h.node_count} * sizeof(packed::node), h.total_size) ||
      !inside(h.names_offset, h.names_size, h.total_size))
    return error::io;
  packed_root r;
  r.blob_ = blob;
  r.size_ = h.total_size;
  r.node_count_ = h.node_count;
  r.nodes_offset_ = h.nodes_offset;
  r.names_offset_ = h.names_offset;
  r.names_size_ = h.names_size;
  if (!S_ISDIR(TRY(r.at(0)).mode))
    return error::io;
  return r;
}

result<packed_root::entry> packed_root::at(uint32_t number) const {
  if (number >= node_count_)
    return error::io;
  const auto n =
      load<packed::node>(blob_ + nodes_offset_ + uint64_t{number} * sizeof(packed::node));
  if (!inside(n.name_offset, n.name_size, names_size_) || n.name_size > 255 ||
      n.modified > latest_time)
    return error::io;
  entry e{};
  e.number = number;
  e.name = {reinterpret_cast<const char*>(blob_) + names_offset_ + n.name_offset, n.name_size};
  e.mode = n.mode;
  e.size = n.size;
  e.stored_size = n.stored_size;
  e.modified = n.modified;
  switch (n.mode & S_IFMT) {
  case S_IFDIR:
    // Children after their directory: following them always ends.
    if (n.size && (n.data_offset <= number || !inside(n.data_offset, n.size, node_count_)))
      return error::io;
    e.first_child = static_cast<uint32_t>(n.data_offset);
    e.child_count = static_cast<uint32_t>(n.size);
    return e;
  case S_IFREG:
    if (n.size > largest_file || n.stored_size > n.size)
      return error::io;
    break;
  case S_IFLNK:
    if (n.size != n.stored_size || n.size >= 4096)
      return error::io;
    break;
  default:
    return error::io;
  }
  if (!inside(n.data_offset, n.stored_size, size_))
    return error::io;
  e.data = blob_ + n.data_offset;
  return e;
}

result<packed_root::entry> packed_root::lookup(const entry& directory, text name) const {
  if (!S_ISDIR(directory.mode))
    return error::notdir;
  uint32_t low = directory.first_child, high = low + directory.child_count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const auto e = TRY(at(middle));
    const int order = name.compare(e.name);
    if (order == 0)
      return e;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return error::noent;
}

} // namespace oblako::fs
