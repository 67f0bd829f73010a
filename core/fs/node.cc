// What a node does that its class does not say otherwise.
#include "core/fs/node.hh"
#include <sys/statfs.h>

namespace oblako::fs {

constinit sched::mutex tree_lock;

result<void> node::file_system_status(struct statfs& out) {
  out = {};
  out.f_type = 0x9fa0; // PROC_SUPER_MAGIC: a file system without storage
  out.f_bsize = out.f_frsize = page_size;
  out.f_namelen = name_limit;
  return {};
}

result<mem::ref<posix::file>> node::open(uint32_t) {
  return error::nxio;
}
result<void> node::truncate(uint64_t) {
  return error::inval;
}
result<void> node::change(const attribute_change&) {
  return error::perm;
}
result<size_t> node::read_link(char*, size_t) {
  return error::inval;
}
result<mem::ref<node>> node::lookup(text) {
  return is_directory() ? error::noent : error::notdir;
}
result<mem::ref<node>> node::make(text, const new_node&) {
  return is_directory() ? error::perm : error::notdir;
}
result<mem::ref<node>> node::make_unnamed(uint32_t) {
  return error::opnotsupp;
}
result<void> node::link(text, node&) {
  return is_directory() ? error::perm : error::notdir;
}
result<void> node::unlink(text) {
  return is_directory() ? error::perm : error::notdir;
}
result<void> node::remove_directory(text) {
  return is_directory() ? error::perm : error::notdir;
}
result<void> node::rename(text, node&, text, uint32_t) {
  return error::perm;
}
result<bool> node::list(uint64_t&, directory_entry&) {
  return error::notdir;
}

void fill_status(struct stat& out, const node& n, uint64_t ino) {
  out = {};
  out.st_dev = n.device();
  out.st_ino = ino;
  out.st_mode = n.mode();
  out.st_nlink = 1;
  out.st_blksize = page_size;
}

} // namespace oblako::fs
