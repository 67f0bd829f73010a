// File trees without storage: /dev, /proc and /sys. A tree is a table of paths; directories are
// the prefixes of those paths. Nothing is built at boot: a node is made when a walk comes by.
#pragma once

#include "core/fs/node.hh"

namespace oblako::fs {

// Text that grows on the kernel heap; what did not fit in memory is missing and `failed`.
class text_builder : noncopyable {
public:
  ~text_builder() { mem::release(data_); }
  void append(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void append_bytes(const char* data, size_t size);
  bool failed() const { return failed_; }
  size_t size() const { return size_; }
  const char* data() const { return data_; }

private:
  bool reserve(size_t more);
  char* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
  bool failed_ = false;
};

// One leaf of a tree. One of the pointers is set; if none is, the leaf is not there.
struct pseudo_entry {
  text path;                      // below the tree's root, no slash in front
  uint32_t mode;                  // S_IFREG, S_IFCHR, S_IFLNK or S_IFDIR with permission bits
  uint32_t device_number = 0;     // st_rdev
  const char* constant = nullptr; // contents, or a link's target
  void (*write_text)(text_builder&) = nullptr; // contents, made at open(); or a link's target
  result<mem::ref<posix::file>> (*open)(uint32_t flags) = nullptr;
  result<mem::ref<node>> (*make_node)() = nullptr; // a node of its own kind
};

// More leaves from other parts of the kernel, registered when they start:
//   if (fs::register_pseudo_file) fs::register_pseudo_file(mine);
// The path is absolute there: "/proc/net/dev". The object lives for ever. Null in an image
// without a file system.
struct pseudo_registration {
  pseudo_entry entry;
  pseudo_registration* next = nullptr;
};
[[gnu::weak]] void register_pseudo_file(pseudo_registration& r);

struct pseudo_tree {
  text mount_point; // "/proc"
  uint64_t device;
  const pseudo_entry* entries;
  size_t count;
};
extern const pseudo_tree dev_tree, proc_tree, sys_tree;

// The root directory of a tree, to be mounted in the root directory. Errors: nomem.
result<mem::ref<node>> pseudo_root(const pseudo_tree& tree);

} // namespace oblako::fs
