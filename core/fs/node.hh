// Nodes of the file tree. A directory's entries name nodes; a file system is a tree of nodes with
// one device number, and a mounted file system is an entry whose node belongs to another one.
//
// The names and the shape of the tree are guarded by one sleeping mutex, tree_lock; every call
// marked [tree] is made with it held. What is inside a file has its own lock.
#pragma once

#include "core/base/result.hh"
#include "core/base/text.hh"
#include "core/mem/heap.hh"
#include "core/posix/file.hh"
#include <stdint.h>
#include <sys/stat.h>

struct statfs;

namespace oblako::fs {

extern sched::mutex tree_lock;
using tree_guard = sched::lock_guard<sched::mutex>;

constexpr size_t name_limit = 255;  // NAME_MAX
constexpr size_t path_limit = 4096; // PATH_MAX, terminator included

// One directory entry as getdents reports it.
struct directory_entry {
  text name; // valid while tree_lock is held
  uint64_t ino;
  uint32_t mode; // its type bits
};

// chmod, chown, utimes: `what` names the values that count.
struct attribute_change {
  enum : uint32_t { mode_bits = 1, owner = 2, group = 4, accessed = 8, modified = 16 };
  uint32_t what = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  timespec access_time{}, modify_time{};
};

// What make() creates.
struct new_node {
  uint32_t mode = 0;   // type and permission bits
  uint64_t device = 0; // st_rdev of a device node
  text target;         // of a symbolic link
};

enum rename_flags : uint32_t { rename_noreplace = 1, rename_exchange = 2 };

class node : public mem::counted {
public:
  uint32_t mode() const { return mode_; }
  uint32_t type() const { return mode_ & S_IFMT; }
  bool is_directory() const { return type() == S_IFDIR; }
  bool is_symlink() const { return type() == S_IFLNK; }

  // Which file system it belongs to (st_dev).
  virtual uint64_t device() const = 0;
  virtual result<void> status(struct stat& out) = 0;
  virtual result<void> file_system_status(struct statfs& out);
  // An open file for this node. O_TRUNC has been dealt with. May block (a FIFO waits for its other
  // end). Errors: isdir, nxio, nomem ...
  virtual result<mem::ref<posix::file>> open(uint32_t flags);
  virtual result<void> truncate(uint64_t size);           // inval
  virtual result<void> change(const attribute_change& c); // perm

  // Symbolic links. read_link gives as much of the target as fits, and that length.
  virtual result<size_t> read_link(char* to, size_t size); // [tree] inval
  // Links that lead straight to a node (/proc/self/fd/N); null for ordinary ones.
  virtual mem::ref<node> magic_target() { return {}; } // [tree]

  // Directories. Names are single components, never empty, "." or "..".
  virtual result<mem::ref<node>> lookup(text name);                  // [tree] notdir; noent
  virtual result<mem::ref<node>> make(text name, const new_node& n); // [tree] exist, nomem, perm
  // A regular file without a name (O_TMPFILE).
  virtual result<mem::ref<node>> make_unnamed(uint32_t mode); // opnotsupp
  virtual result<void> link(text name, node& target);         // [tree]
  virtual result<void> unlink(text name);                     // [tree] isdir
  virtual result<void> remove_directory(text name);           // [tree] notempty
  virtual result<void> rename(text name, node& to, text new_name, uint32_t flags); // [tree]
  // The first entry at or after `position`; position becomes that of the next. False at the end.
  // Positions stay valid when entries come and go. Without "." and "..".
  virtual result<bool> list(uint64_t& position, directory_entry& out); // [tree]
  // The directory this one is in; null for the root and for a removed directory.
  virtual mem::ref<node> parent() { return {}; } // [tree]
  virtual text own_name() { return {}; }         // [tree] in its parent

protected:
  explicit node(uint32_t mode) : mode_(mode) {}
  void set_permissions(uint32_t m) { mode_ = (mode_ & S_IFMT) | (m & 07777); }

private:
  uint32_t mode_;
};

// The root of everything; made at its first use. [tree]
node& root();
// Puts a file there, with the directories above it, replacing what was there: for files the kernel
// provides at boot or renews later (/etc/resolv.conf). Offered weakly: without a file system in
// the image it is null. Context: thread, tree_lock not held. Errors: nomem, notdir.
[[gnu::weak]] result<void> write_boot_file(const char* path, const char* data, size_t size);

// Number n of the files that an image with a network has, where the recipe brings none; nullptr
// after the last. Offered weakly.
struct provided_file {
  const char *path, *contents;
};
[[gnu::weak]] const provided_file* network_file(unsigned n);

// The application's working directory and file mode creation mask.
node& working_directory();                    // [tree]
void set_working_directory(mem::ref<node> n); // [tree]

// Fills what most nodes say alike; the rest is zero.
void fill_status(struct stat& out, const node& n, uint64_t ino);

} // namespace oblako::fs
