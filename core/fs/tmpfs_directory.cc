// Directories in memory: names, and the image's entries brought in when they are asked for.
#include "core/boot/memory_expressions.hh"
#include "core/fs/node_files.hh"
#include "core/fs/packed_format.hh"
#include "core/fs/tmpfs.hh"

namespace oblako::fs {

tmpfs_directory::tmpfs_directory(uint32_t mode, uint64_t ino, uint32_t image_node)
    : tmpfs_node(mode, ino), image_node_(image_node) {
  if (image_node == no_image_node)
    return;
  const packed_root& image = *tmpfs_image();
  auto self = image.at(image_node);
  for (uint32_t i = 0; self.ok() && i < self->child_count; ++i)
    if (auto child = image.at(self->first_child + i); child.ok() && S_ISDIR(child->mode))
      ++subdirectories_;
}

tmpfs_directory::~tmpfs_directory() {
  by_position_.clear();
  by_name_.clear_and_dispose([](tmpfs_entry* e) {
    e->~tmpfs_entry();
    mem::release(e);
  });
}

result<void> tmpfs_directory::status(struct stat& out) {
  TRY(tmpfs_node::status(out));
  out.st_nlink = removed_ ? 0 : 2 + subdirectories_;
  out.st_size = page_size;
  return {};
}

result<mem::ref<posix::file>> tmpfs_directory::open(uint32_t flags) {
  return open_directory(*this, flags);
}

mem::ref<node> tmpfs_directory::parent() {
  return mem::ref<node>::share(parent_);
}

tmpfs_entry* tmpfs_directory::find_entry(text name) {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &*it;
}

result<tmpfs_entry*> tmpfs_directory::entry_for(text name) {
  if (tmpfs_entry* e = find_entry(name))
    return e;
  void* memory = mem::allocate(sizeof(tmpfs_entry) + name.size);
  if (!memory)
    return error::nomem;
  auto* e = ::new (memory) tmpfs_entry;
  e->position = next_position_++;
  e->name_size = static_cast<uint8_t>(name.size);
  __builtin_memcpy(e->name_data(), name.data, name.size);
  by_name_.insert(*e);
  by_position_.insert(*e);
  return e;
}

// Forgets the entry, unless the image has one of that name: then it stays as the whiteout.
void tmpfs_directory::remove_entry(tmpfs_entry& e) {
  if (in_image(e.name()))
    return;
  by_name_.erase(by_name_.iterator_to(e));
  by_position_.erase(by_position_.iterator_to(e));
  e.~tmpfs_entry();
  mem::release(&e);
}

// Makes the entry name `n`. Links are counted for nodes of this file system only.
void tmpfs_directory::attach(tmpfs_entry& e, mem::ref<node> n) {
  if (n->device() == tmpfs_device) {
    static_cast<tmpfs_node&>(*n).count_link(+1);
    if (n->is_directory()) {
      auto& child = static_cast<tmpfs_directory&>(*n);
      child.parent_ = this;
      child.entry_ = &e;
      child.removed_ = false;
    }
  }
  subdirectories_ += n->is_directory();
  e.target = std::move(n);
}

mem::ref<node> tmpfs_directory::detach(tmpfs_entry& e) {
  mem::ref<node> n = std::move(e.target);
  subdirectories_ -= n->is_directory();
  if (n->device() == tmpfs_device) {
    static_cast<tmpfs_node&>(*n).count_link(-1);
    if (n->is_directory()) {
      auto& child = static_cast<tmpfs_directory&>(*n);
      child.parent_ = nullptr;
      child.entry_ = nullptr;
      child.removed_ = true;
    }
  }
  return n;
}

bool tmpfs_directory::in_image(text name) {
  if (image_node_ == no_image_node)
    return false;
  auto self = tmpfs_image()->at(image_node_);
  return self.ok() && tmpfs_image()->lookup(*self, name).ok();
}

namespace {
// The bytes of a file of the image; if it holds parts of memory, those of a copy that stays for
// ever.
result<image_bytes> contents_of(const packed_root::entry& from) {
  if (!(from.mode & packed::has_expressions) || !oblako_expand_memory)
    return image_bytes{from.data, from.size, from.stored_size};
  mem::unique<char> copy(static_cast<char*>(mem::allocate(from.size + 1)));
  if (!copy)
    return error::nomem;
  __builtin_memcpy(copy.get(), from.data, from.size);
  copy.get()[from.size] = 0;
  const size_t size = oblako_expand_memory(copy.get());
  return image_bytes{reinterpret_cast<const uint8_t*>(copy.release()), size, size};
}
} // namespace

// The node for an entry of the image.
result<mem::ref<node>> tmpfs_directory::bring_in(const packed_root::entry& from) {
  const uint64_t ino = uint64_t{from.number} + 1;
  mem::ref<node> made;
  if (S_ISDIR(from.mode))
    made = TRY(mem::make_shared<tmpfs_directory>(from.mode, ino, from.number));
  else if (S_ISLNK(from.mode))
    made = TRY(mem::make_shared<tmpfs_symlink>(
        mem::unique<char>(), text{reinterpret_cast<const char*>(from.data), from.size}, ino));
  else
    made = TRY(mem::make_shared<tmpfs_file>(from.mode, ino, TRY(contents_of(from))));
  static_cast<tmpfs_node&>(*made).was_modified(from.modified);
  attach(*TRY(entry_for(from.name)), made);
  subdirectories_ -= made->is_directory(); // counted from the beginning
  return made;
}

result<void> tmpfs_directory::bring_in_all() {
  if (image_node_ == no_image_node || image_listed_)
    return {};
  const auto self = TRY(tmpfs_image()->at(image_node_));
  for (uint32_t i = 0; i < self.child_count; ++i) {
    const auto child = TRY(tmpfs_image()->at(self.first_child + i));
    if (!find_entry(child.name))
      TRY(bring_in(child));
  }
  image_listed_ = true;
  return {};
}

result<mem::ref<node>> tmpfs_directory::lookup(text name) {
  if (tmpfs_entry* e = find_entry(name)) {
    if (!e->target)
      return error::noent;
    return e->target;
  }
  if (image_node_ == no_image_node || image_listed_)
    return error::noent;
  const auto self = TRY(tmpfs_image()->at(image_node_));
  return bring_in(TRY(tmpfs_image()->lookup(self, name)));
}

namespace {

result<mem::ref<node>> new_symlink(text target) {
  auto copy = mem::unique<char>(static_cast<char*>(mem::allocate(target.size)));
  if (!copy)
    return error::nomem;
  __builtin_memcpy(copy.get(), target.data, target.size);
  const text held{copy.get(), target.size};
  return mem::ref<node>(TRY(mem::make_shared<tmpfs_symlink>(std::move(copy), held)));
}

result<mem::ref<node>> new_of_type(const new_node& n) {
  switch (n.mode & S_IFMT) {
  case S_IFREG:
    return mem::ref<node>(TRY(mem::make_shared<tmpfs_file>(n.mode)));
  case S_IFDIR:
    return mem::ref<node>(TRY(mem::make_shared<tmpfs_directory>(n.mode)));
  case S_IFLNK:
    return new_symlink(n.target);
  case S_IFIFO:
  case S_IFSOCK:
  case S_IFCHR:
  case S_IFBLK:
    return mem::ref<node>(TRY(mem::make_shared<tmpfs_special>(n.mode, n.device)));
  }
  return error::inval;
}

} // namespace

result<mem::ref<node>> tmpfs_directory::make(text name, const new_node& n) {
  if (removed_)
    return error::noent;
  if (auto there = lookup(name); there.ok())
    return error::exist;
  else if (there.code() != error::noent)
    return there.code();
  auto made = TRY(new_of_type(n));
  attach(*TRY(entry_for(name)), made);
  note_modified();
  return made;
}

result<mem::ref<node>> tmpfs_directory::make_unnamed(uint32_t mode) {
  return mem::ref<node>(TRY(mem::make_shared<tmpfs_file>(mode)));
}

result<void> tmpfs_directory::place_node(text name, mem::ref<node> n) {
  tmpfs_entry* e = TRY(entry_for(name));
  if (e->target)
    detach(*e);
  attach(*e, std::move(n));
  return {};
}

result<void> tmpfs_directory::link(text name, node& target) {
  if (target.device() != tmpfs_device)
    return error::xdev;
  if (target.is_directory())
    return error::perm;
  if (removed_)
    return error::noent;
  if (auto there = lookup(name); there.ok())
    return error::exist;
  else if (there.code() != error::noent)
    return there.code();
  attach(*TRY(entry_for(name)), mem::ref<node>::share(&target));
  note_modified();
  return {};
}

result<void> tmpfs_directory::unlink(text name) {
  auto n = TRY(lookup(name));
  if (n->is_directory())
    return error::isdir;
  if (n->device() != tmpfs_device)
    return error::busy;
  tmpfs_entry& e = *find_entry(name);
  detach(e);
  remove_entry(e);
  note_modified();
  return {};
}

result<bool> tmpfs_directory::is_empty() {
  TRY(bring_in_all());
  for (const tmpfs_entry& e : by_name_)
    if (e.target)
      return false;
  return true;
}

result<void> tmpfs_directory::remove_directory(text name) {
  auto n = TRY(lookup(name));
  if (!n->is_directory())
    return error::notdir;
  if (n->device() != tmpfs_device)
    return error::busy;
  if (!TRY(static_cast<tmpfs_directory&>(*n).is_empty()))
    return error::notempty;
  tmpfs_entry& e = *find_entry(name);
  detach(e);
  remove_entry(e);
  note_modified();
  return {};
}

// True if this directory is `ancestor` or lies below it.
bool tmpfs_directory::is_below(const node& ancestor) {
  for (tmpfs_directory* d = this; d; d = d->parent_)
    if (d == &ancestor)
      return true;
  return false;
}

result<void> tmpfs_directory::check_replace(node& moved, node& replaced) {
  if (replaced.device() != tmpfs_device)
    return error::busy;
  if (!moved.is_directory())
    return replaced.is_directory() ? error::isdir : result<void>();
  if (!replaced.is_directory())
    return error::notdir;
  return TRY(static_cast<tmpfs_directory&>(replaced).is_empty()) ? result<void>() : error::notempty;
}

void tmpfs_directory::exchange(tmpfs_entry& mine, tmpfs_directory& to, tmpfs_entry& theirs) {
  auto a = detach(mine);
  auto b = to.detach(theirs);
  attach(mine, std::move(b));
  to.attach(theirs, std::move(a));
  note_modified();
  to.note_modified();
}

result<void> tmpfs_directory::rename(text name, node& to_node, text new_name, uint32_t flags) {
  if (to_node.device() != tmpfs_device)
    return error::xdev;
  auto& to = static_cast<tmpfs_directory&>(to_node);
  auto moved = TRY(lookup(name));
  if (moved->device() != tmpfs_device)
    return error::busy;
  if (to.removed_)
    return error::noent;
  if (moved->is_directory() && to.is_below(*moved))
    return error::inval;
  auto present = to.lookup(new_name);
  if (!present.ok() && present.code() != error::noent)
    return present.code();
  if (present.ok() && is_below(**present))
    return flags & rename_exchange ? error::inval : error::notempty;
  if (present.ok() && present->get() == moved.get())
    return flags & rename_noreplace ? result<void>(error::exist) : result<void>();
  tmpfs_entry& source = *find_entry(name);
  if (flags & rename_exchange) {
    if (!present.ok())
      return error::noent;
    if ((*present)->device() != tmpfs_device)
      return error::busy;
    exchange(source, to, *to.find_entry(new_name));
    return {};
  }
  if (present.ok()) {
    if (flags & rename_noreplace)
      return error::exist;
    TRY(check_replace(*moved, **present));
  }
  tmpfs_entry& place = *TRY(to.entry_for(new_name)); // the last thing that can fail
  if (place.target)
    to.detach(place);
  to.attach(place, detach(source));
  remove_entry(source);
  note_modified();
  to.note_modified();
  return {};
}

result<bool> tmpfs_directory::list(uint64_t& position, directory_entry& out) {
  TRY(bring_in_all());
  for (auto it = by_position_.lower_bound(position); it != by_position_.end(); ++it) {
    if (!it->target)
      continue;
    struct stat s;
    TRY(it->target->status(s));
    out = {it->name(), s.st_ino, s.st_mode};
    position = it->position + 1;
    return true;
  }
  return false;
}

} // namespace oblako::fs
