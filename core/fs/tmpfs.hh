// The file system in memory. It is also the writable layer over the packed read-only root: a
// directory may stand for one of the image, whose entries become nodes when they are first looked
// up, and a file's pages come from the image until they are written. Removing an entry of the
// image leaves a whiteout, an entry without a node.
#pragma once

#include "core/fs/node.hh"
#include "core/fs/packed_root.hh"
#include "core/fs/page_tree.hh"
#include "core/mem/areas.hh"
#include "core/time/clock.hh"
#include <boost/intrusive/set.hpp>

namespace oblako::fs {

constexpr uint64_t tmpfs_device = 0x10;
constexpr uint32_t no_image_node = ~0u;

class tmpfs_node : public node {
public:
  uint64_t device() const final { return tmpfs_device; }
  result<void> status(struct stat& out) override;
  result<void> file_system_status(struct statfs& out) final;
  result<void> change(const attribute_change& c) final;

  uint64_t ino() const { return ino_; }
  uint32_t links() const { return links_; }
  void count_link(int delta); // [tree]
  // Before anybody else knows the node.
  void was_modified(uint64_t seconds) { modified_ = seconds * time::ns_per_s; }

protected:
  // `ino` 0: the next free number.
  tmpfs_node(uint32_t mode, uint64_t ino);
  void note_modified(); // mtime and ctime

private:
  const uint64_t ino_;
  uint32_t links_ = 0; // [tree]
  uint32_t uid_ = 0, gid_ = 0;
  uint64_t accessed_, modified_, changed_; // ns since 1970
};

// Read-only bytes outside the page tree that a file begins with.
struct image_bytes {
  const uint8_t* data = nullptr;
  uint64_t size = 0;
  uint64_t stored_size = 0; // != size: zlib
};

class tmpfs_file final : public tmpfs_node, public mem::page_source {
public:
  tmpfs_file(uint32_t mode, uint64_t ino = 0, image_bytes image = {});

  result<void> status(struct stat& out) override;
  result<mem::ref<posix::file>> open(uint32_t flags) override;
  result<void> truncate(uint64_t size) override;

  result<size_t> read_at(mem::io_buffers& to, uint64_t offset);
  // Writes at `offset`, or at the end if `append`; gives the offset it ended at in `end`.
  result<size_t> write_at(mem::io_buffers& from, uint64_t offset, bool append, uint64_t& end);
  result<void> allocate_range(int mode, uint64_t offset, uint64_t bytes);
  uint64_t size() const { return __atomic_load_n(&size_, __ATOMIC_RELAXED); }

  // mem::page_source
  void add_reference() override { node::add_reference(); }
  void drop_reference() override { node::drop_reference(); }
  result<void> read_page(uint64_t offset, void* to) override;

private:
  size_t image_part(uint64_t offset, size_t bytes) const;
  result<uint8_t*> writable_page(uint64_t index, bool will_be_overwritten);
  result<void> inflate();
  result<void> zero_range(uint64_t offset, uint64_t end);
  void drop_pages_behind(uint64_t size);
  void set_size(uint64_t n) { __atomic_store_n(&size_, n, __ATOMIC_RELAXED); }

  // Held across accesses to application memory; guards everything below.
  sched::mutex lock_;
  // Taken inside lock_ where the tree's shape changes, and alone by read_page(), which serves page
  // faults and so must not wait for a reader or writer of this or another file.
  sched::spinlock pages_lock_{sched::lock_rank::fs};
  page_tree pages_;
  uint64_t size_;
  image_bytes image_; // size shrinks with truncate()
};

class tmpfs_symlink final : public tmpfs_node {
public:
  tmpfs_symlink(mem::unique<char> owned, text target, uint64_t ino = 0)
      : tmpfs_node(S_IFLNK | 0777, ino), owned_(std::move(owned)), target_(target) {}
  result<void> status(struct stat& out) override;
  result<size_t> read_link(char* to, size_t size) override;

private:
  mem::unique<char> owned_; // null if the text lies in the image
  text target_;
};

// FIFOs, sockets' names and device nodes made by mknod().
class tmpfs_special final : public tmpfs_node {
public:
  tmpfs_special(uint32_t mode, uint64_t rdev) : tmpfs_node(mode, 0), rdev_(rdev) {}
  ~tmpfs_special() override;
  result<void> status(struct stat& out) override;
  result<mem::ref<posix::file>> open(uint32_t flags) override;

private:
  uint64_t rdev_;
  mem::counted* pipe_ = nullptr; // of a FIFO, once it was opened; guarded by tree_lock
};

class tmpfs_directory;

struct entry_by_name;
struct entry_by_position;
struct tmpfs_entry : boost::intrusive::set_base_hook<boost::intrusive::tag<entry_by_name>>,
                     boost::intrusive::set_base_hook<boost::intrusive::tag<entry_by_position>> {
  mem::ref<fs::node> target; // null: a whiteout
  uint64_t position;
  uint8_t name_size; // the name follows the object

  char* name_data() { return reinterpret_cast<char*>(this + 1); }
  text name() const { return {reinterpret_cast<const char*>(this + 1), name_size}; }
};

class tmpfs_directory final : public tmpfs_node {
public:
  explicit tmpfs_directory(uint32_t mode, uint64_t ino = 0, uint32_t image_node = no_image_node);
  ~tmpfs_directory() override;

  result<void> status(struct stat& out) override;
  result<mem::ref<posix::file>> open(uint32_t flags) override;
  result<mem::ref<node>> lookup(text name) override;
  result<mem::ref<node>> make(text name, const new_node& n) override;
  result<mem::ref<node>> make_unnamed(uint32_t mode) override;
  result<void> link(text name, node& target) override;
  result<void> unlink(text name) override;
  result<void> remove_directory(text name) override;
  result<void> rename(text name, node& to, text new_name, uint32_t flags) override;
  result<bool> list(uint64_t& position, directory_entry& out) override;
  mem::ref<node> parent() override;
  text own_name() override { return entry_ ? entry_->name() : text{}; }

  // Puts a node there, whatever file system it is of, replacing what was there: mounts and files
  // of the kernel's own. [tree]
  result<void> place_node(text name, mem::ref<node> n);

private:
  struct name_of {
    using type = text;
    type operator()(const tmpfs_entry& e) const { return e.name(); }
  };
  struct position_of {
    using type = uint64_t;
    type operator()(const tmpfs_entry& e) const { return e.position; }
  };
  using name_set = boost::intrusive::set<
      tmpfs_entry,
      boost::intrusive::base_hook<
          boost::intrusive::set_base_hook<boost::intrusive::tag<entry_by_name>>>,
      boost::intrusive::key_of_value<name_of>, boost::intrusive::constant_time_size<false>>;
  using position_set = boost::intrusive::set<
      tmpfs_entry,
      boost::intrusive::base_hook<
          boost::intrusive::set_base_hook<boost::intrusive::tag<entry_by_position>>>,
      boost::intrusive::key_of_value<position_of>, boost::intrusive::constant_time_size<false>>;

  tmpfs_entry* find_entry(text name);
  // The entry of that name, made as a whiteout if there is none.
  result<tmpfs_entry*> entry_for(text name);
  void remove_entry(tmpfs_entry& e);
  void attach(tmpfs_entry& e, mem::ref<node> n);
  mem::ref<node> detach(tmpfs_entry& e);
  result<mem::ref<node>> bring_in(const packed_root::entry& from);
  result<void> bring_in_all();
  bool in_image(text name);
  result<bool> is_empty();
  bool is_below(const node& ancestor);
  result<void> check_replace(node& moved, node& replaced);
  void exchange(tmpfs_entry& mine, tmpfs_directory& to, tmpfs_entry& theirs);

  // All guarded by tree_lock.
  name_set by_name_;
  position_set by_position_;
  uint64_t next_position_ = 3; // 1 and 2 are "." and ".."
  tmpfs_directory* parent_ = nullptr;
  tmpfs_entry* entry_ = nullptr; // the one in parent_ that names this directory
  uint32_t subdirectories_ = 0;
  uint32_t image_node_;
  bool image_listed_ = false; // every entry of the image has one here
  bool removed_ = false;
};

// The packed root the directories stand for, if the image has one. Set before first use.
void set_tmpfs_image(const packed_root* image);
const packed_root* tmpfs_image();

// What opens a FIFO's ends; in the image where mknod() is. `pipe` belongs to the node.
extern "C" [[gnu::weak]] result<mem::ref<posix::file>> oblako_open_fifo(mem::counted*& pipe,
                                                                        uint32_t flags, node& of);

} // namespace oblako::fs
