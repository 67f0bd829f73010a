#include "core/fs/pseudo.hh"
#include "core/fs/node_files.hh"
#include "core/log/log.hh"
#include <fcntl.h>
#include <sys/stat.h>

namespace oblako::fs {

namespace {

pseudo_registration* registered; // guarded by tree_lock

// ------------------------------------------------------------- files whose contents are made

class text_file final : public posix::file {
public:
  text_file(fs::node& n, uint32_t flags) : file(flags), node_(mem::ref<fs::node>::share(&n)) {}

  text_builder contents;

  result<size_t> read(mem::io_buffers& to) override {
    sched::lock_guard g(position_lock_);
    const size_t n = TRY(read_at(to, position_));
    position_ += n;
    return n;
  }
  result<size_t> read_at(mem::io_buffers& to, uint64_t offset) override {
    if ((flags() & O_ACCMODE) == O_WRONLY)
      return error::badf;
    if (offset >= contents.size())
      return size_t{0};
    return to.put(contents.data() + offset, min_of(to.remaining(), contents.size() - offset));
  }
  // Settings can be written and have no effect: there is nothing they could tune.
  result<size_t> write(mem::io_buffers& from) override {
    if ((flags() & O_ACCMODE) == O_RDONLY)
      return error::badf;
    return from.remaining();
  }
  result<size_t> write_at(mem::io_buffers& from, uint64_t) override { return write(from); }
  result<uint64_t> seek(int64_t offset, int whence) override {
    sched::lock_guard g(position_lock_);
    const uint64_t base = whence == SEEK_CUR ? position_ : 0;
    if (whence != SEEK_SET && whence != SEEK_CUR)
      return error::inval;
    const int64_t to = static_cast<int64_t>(base) + offset;
    if (to < 0)
      return error::inval;
    position_ = static_cast<uint64_t>(to);
    return uint64_t{position_};
  }
  result<void> status(struct stat& out) override { return node_->status(out); }
  fs::node* node() override { return node_.get(); }

private:
  const mem::ref<fs::node> node_;
  sched::mutex position_lock_;
  uint64_t position_ = 0; // guarded by position_lock_
};

// ------------------------------------------------------------- nodes

class pseudo_leaf final : public node {
public:
  pseudo_leaf(const pseudo_entry& e, uint64_t device, uint64_t ino)
      : node(e.mode), entry_(e), device_(device), ino_(ino) {}

  uint64_t device() const override { return device_; }
  result<void> status(struct stat& out) override {
    fill_status(out, *this, ino_);
    out.st_rdev = entry_.device_number;
    return {};
  }
  result<mem::ref<posix::file>> open(uint32_t flags) override {
    if (entry_.open)
      return entry_.open(flags);
    if ((flags & O_ACCMODE) != O_RDONLY && !(mode() & 0222))
      return error::acces;
    auto f = TRY(mem::make_shared<text_file>(*this, flags));
    if (entry_.write_text)
      entry_.write_text(f->contents);
    else
      f->contents.append_bytes(entry_.constant, __builtin_strlen(entry_.constant));
    if (f->contents.failed())
      return error::nomem;
    return mem::ref<posix::file>(std::move(f));
  }
  result<void> truncate(uint64_t) override { return {}; } // O_TRUNC when a setting is written
  result<size_t> read_link(char* to, size_t size) override {
    if (!is_symlink())
      return error::inval;
    text target(entry_.constant ? entry_.constant : "");
    text_builder made;
    if (entry_.write_text) {
      entry_.write_text(made);
      target = {made.data(), made.size()};
    }
    const size_t n = min_of(size, target.size);
    __builtin_memcpy(to, target.data, n);
    return n;
  }

private:
  const pseudo_entry& entry_;
  const uint64_t device_, ino_;
};

// A directory is a prefix of the tree's paths ("", "self", "sys/vm"); the text lies in the table.
class pseudo_directory final : public node {
public:
  pseudo_directory(const pseudo_tree& tree, text prefix)
      : node(S_IFDIR | 0555), tree_(tree), prefix_(prefix) {}

  uint64_t device() const override { return tree_.device; }
  result<void> status(struct stat& out) override {
    fill_status(out, *this, 1 + prefix_.size * 1000 + (prefix_.size ? prefix_.data[0] : 0));
    out.st_nlink = 2;
    return {};
  }
  result<mem::ref<posix::file>> open(uint32_t flags) override {
    return open_directory(*this, flags);
  }
  result<mem::ref<node>> lookup(text name) override;
  result<bool> list(uint64_t& position, directory_entry& out) override;
  mem::ref<node> parent() override;
  text own_name() override {
    if (!prefix_.size)
      return tree_.mount_point.from(1);
    size_t begin = prefix_.size;
    while (begin && prefix_.data[begin - 1] != '/')
      --begin;
    return prefix_.from(begin);
  }

private:
  // The n-th entry of the tree, registered ones behind the table's; null past the end. `path` is
  // below the tree's root; empty for a registration in another tree.
  const pseudo_entry* entry(uint64_t n, text& path) const;
  // What of `path` lies below this directory; empty if it is elsewhere.
  text below(text path) const {
    if (!prefix_.size)
      return path;
    if (path.size > prefix_.size && path.data[prefix_.size] == '/' && path.starts_with(prefix_))
      return path.from(prefix_.size + 1);
    return {};
  }
  static text first_component(text path) {
    size_t n = 0;
    while (n < path.size && path.data[n] != '/')
      ++n;
    return {path.data, n};
  }
  bool listed_before(uint64_t n, text component) const;

  const pseudo_tree& tree_;
  const text prefix_;
};

const pseudo_entry* pseudo_directory::entry(uint64_t n, text& path) const {
  path = {};
  if (n < tree_.count) {
    const pseudo_entry& e = tree_.entries[n];
    // What another part of the kernel offers weakly may not be linked.
    if (e.constant || e.write_text || e.open || e.make_node)
      path = e.path;
    return &e;
  }
  const pseudo_registration* r = registered;
  for (n -= tree_.count; r && n; --n)
    r = r->next;
  if (!r)
    return nullptr;
  const text mount = tree_.mount_point, whole = r->entry.path;
  if (whole.size > mount.size + 1 && whole.starts_with(mount) && whole.data[mount.size] == '/')
    path = whole.from(mount.size + 1);
  return &r->entry;
}

result<mem::ref<node>> pseudo_directory::lookup(text name) {
  // The one process is number 1 and always asks about itself.
  if (&tree_ == &proc_tree && !prefix_.size && (name == "1" || name == "thread-self"))
    name = "self";
  if (!name.size)
    return error::noent;
  const size_t begin = prefix_.size ? prefix_.size + 1 : 0; // of what is below this directory
  text path;
  for (uint64_t n = 0;; ++n) {
    // Most of the table is elsewhere, and one letter tells.
    while (n < tree_.count && (tree_.entries[n].path.size < begin + name.size ||
                               tree_.entries[n].path.data[begin] != name.data[0]))
      ++n;
    const pseudo_entry* e = entry(n, path);
    if (!e)
      break;
    const text rest = below(path);
    if (rest.size < name.size || rest.data[0] != name.data[0] || !rest.starts_with(name))
      continue;
    if (rest.size == name.size) {
      if (e->make_node)
        return e->make_node();
      return mem::ref<node>(TRY(mem::make_shared<pseudo_leaf>(*e, tree_.device, 100'000 + n)));
    }
    if (rest.data[name.size] != '/')
      continue;
    const text prefix{path.data, static_cast<size_t>(rest.data - path.data) + name.size};
    return mem::ref<node>(TRY(mem::make_shared<pseudo_directory>(tree_, prefix)));
  }
  return error::noent;
}

mem::ref<node> pseudo_directory::parent() {
  if (!prefix_.size)
    return mem::ref<node>::share(&root());
  const size_t cut = prefix_.size - own_name().size;
  auto up = mem::make_shared<pseudo_directory>(tree_, text{prefix_.data, cut ? cut - 1 : 0});
  return up.ok() ? mem::ref<node>(up.take()) : mem::ref<node>();
}

bool pseudo_directory::listed_before(uint64_t n, text component) const {
  text path;
  for (uint64_t i = 0; i < n; ++i) {
    entry(i, path);
    const text rest = below(path);
    if (rest.size && first_component(rest) == component)
      return true;
  }
  return false;
}

// Positions are the entries' numbers, behind those of "." and "..".
result<bool> pseudo_directory::list(uint64_t& position, directory_entry& out) {
  text path;
  for (uint64_t n = position < 2 ? 0 : position - 2; const pseudo_entry* e = entry(n, path); ++n) {
    const text rest = below(path);
    const text component = first_component(rest);
    if (!component.size || listed_before(n, component))
      continue;
    const bool leaf = component.size == rest.size;
    out = {component, 100'000 + n, leaf ? e->mode : S_IFDIR};
    position = n + 3;
    return true;
  }
  return false;
}

} // namespace

void register_pseudo_file(pseudo_registration& r) {
  tree_guard g(tree_lock);
  r.next = registered;
  registered = &r;
}

result<mem::ref<node>> pseudo_root(const pseudo_tree& tree) {
  return mem::ref<node>(TRY(mem::make_shared<pseudo_directory>(tree, text{})));
}

bool text_builder::reserve(size_t more) {
  if (size_ + more <= capacity_)
    return true;
  size_t capacity = capacity_ ? capacity_ * 2 : 256;
  while (capacity < size_ + more)
    capacity *= 2;
  auto* grown = static_cast<char*>(mem::allocate(capacity));
  if (!grown) {
    failed_ = true;
    return false;
  }
  __builtin_memcpy(grown, data_, size_);
  mem::release(data_);
  data_ = grown;
  capacity_ = capacity;
  return true;
}

void text_builder::append_bytes(const char* data, size_t size) {
  if (!reserve(size))
    return;
  __builtin_memcpy(data_ + size_, data, size);
  size_ += size;
}

void text_builder::append(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  va_list again;
  va_copy(again, arguments);
  // Most pieces fit what is there.
  const size_t n = log::vformat(data_ + size_, capacity_ - size_, format, arguments);
  if (n < capacity_ - size_) {
    size_ += n;
  } else if (reserve(n + 1)) {
    log::vformat(data_ + size_, n + 1, format, again);
    size_ += n;
  }
  va_end(again);
  va_end(arguments);
}

} // namespace oblako::fs
