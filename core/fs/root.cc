// The root of the tree, made at its first use: the writable file system over the image's packed
// root, the pseudo file systems in it, and the files the kernel provides where the image does not.
#include "core/fs/path.hh"
#include "core/fs/pseudo.hh"
#include "core/fs/socket_name.hh"
#include "core/fs/tmpfs.hh"
#include "core/log/log.hh"
#include "core/posix/creation_mask.hh"
#include <fcntl.h>

// The packed root, from the image build; absent if the application has no root files.
extern "C" {
[[gnu::weak]] extern const uint8_t oblako_root_start[];
[[gnu::weak]] extern const uint8_t oblako_root_end[];
}

namespace oblako::fs {

namespace {

// All guarded by tree_lock.
tmpfs_directory* the_root;
node* the_working_directory;
alignas(packed_root) unsigned char packed_storage[sizeof(packed_root)];

constexpr provided_file boot_files[] = {
    {"/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
    {"/etc/resolv.conf", ""},
    {"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
    {"/etc/group", "root:x:0:\nnogroup:x:65534:\n"},
};
struct boot_directory {
  const char* path;
  uint32_t mode;
};
constexpr boot_directory boot_directories[] = {
    {"/tmp", S_IFDIR | 01777},     {"/etc", S_IFDIR | 0755},     {"/var", S_IFDIR | 0755},
    {"/var/tmp", S_IFDIR | 01777}, {"/run", S_IFDIR | 0755},     {"/root", S_IFDIR | 0700},
    {"/var/log", S_IFDIR | 0755},  {"/var/lib", S_IFDIR | 0755}, {"/run/shm", S_IFDIR | 01777},
};

uint32_t open_packed() {
  if (oblako_root_start == nullptr)
    return no_image_node;
  auto opened = packed_root::open(oblako_root_start,
                                  static_cast<size_t>(oblako_root_end - oblako_root_start));
  if (!opened.ok()) {
    log::error("oblako: the packed root files are damaged; starting without them");
    return no_image_node;
  }
  set_tmpfs_image(::new (static_cast<void*>(packed_storage)) packed_root(*opened));
  return 0;
}

result<void> mount(const pseudo_tree& tree) {
  return the_root->place_node(tree.mount_point.from(1), TRY(pseudo_root(tree)));
}

new_node of_mode(uint32_t mode) {
  return {.mode = mode, .device = 0, .target = {}};
}

// Makes the directories above the last component of an absolute path.
result<void> make_parents(text path) {
  for (size_t i = 1; i < path.size; ++i) {
    if (path.data[i] != '/')
      continue;
    place p;
    TRY(walk(*the_root, {path.data, i}, last_link::follow, p));
    if (!p.target)
      TRY(p.directory->make(p.name(), of_mode(S_IFDIR | 0755)));
  }
  return {};
}

result<void> add_file(text path, const char* contents) {
  place p;
  TRY(walk(*the_root, path, last_link::keep, p));
  if (p.target || p.directory->device() != tmpfs_device)
    return {};
  const uint64_t size = __builtin_strlen(contents);
  auto file = TRY(mem::make_shared<tmpfs_file>(
      S_IFREG | 0644, uint64_t{0},
      image_bytes{reinterpret_cast<const uint8_t*>(contents), size, size}));
  return static_cast<tmpfs_directory&>(*p.directory).place_node(p.name(), std::move(file));
}

result<void> furnish() {
  TRY(mount(dev_tree));
  TRY(mount(proc_tree));
  TRY(mount(sys_tree));
  for (const auto& d : boot_directories) {
    place p;
    TRY(walk(*the_root, d.path, last_link::follow, p));
    if (!p.target)
      TRY(p.directory->make(p.name(), of_mode(d.mode)));
  }
  for (unsigned n = 0; network_file && network_file(n); ++n)
    TRY(add_file(network_file(n)->path, network_file(n)->contents));
  for (const auto& f : boot_files)
    TRY(add_file(f.path, f.contents));
  return {};
}

} // namespace

node& root() {
  if (the_root) [[likely]]
    return *the_root;
  auto made = mem::make_shared<tmpfs_directory>(S_IFDIR | 0755, uint64_t{1}, open_packed());
  if (!made.ok())
    log::panic("no memory for the root directory: give the VM more memory");
  the_root = made->get();
  made->leak(); // the root stays for ever
  if (auto r = furnish(); !r.ok())
    log::error("oblako: the root directory is incomplete (error %d)", static_cast<int>(r.code()));
  return *the_root;
}

node& working_directory() {
  return the_working_directory ? *the_working_directory : root();
}

void set_working_directory(mem::ref<node> n) {
  if (the_working_directory)
    the_working_directory->drop_reference();
  the_working_directory = n.leak();
}

// Here, because this file is linked whenever there are files.
result<mem::ref<node>> make_socket_name(text path) {
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(AT_FDCWD, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  if (p.target || !p.is_name())
    return error::exist;
  if (p.wants_directory)
    return error::noent;
  return p.directory->make(p.name(), of_mode(S_IFSOCK | (0777 & ~posix::creation_mask)));
}

result<mem::ref<node>> find_socket_name(text path) {
  tree_guard guard(tree_lock);
  auto n = TRY(find(AT_FDCWD, path, last_link::follow));
  if (n->type() != S_IFSOCK)
    return error::connrefused;
  return n;
}

result<void> write_boot_file(const char* path, const char* data, size_t size) {
  tree_guard guard(tree_lock);
  root();
  TRY(make_parents(path));
  place p;
  TRY(walk(*the_root, path, last_link::follow, p));
  if (!p.target)
    p.target = TRY(p.directory->make(p.name(), of_mode(S_IFREG | 0644)));
  if (p.target->device() != tmpfs_device || p.target->type() != S_IFREG)
    return error::notdir;
  auto& file = static_cast<tmpfs_file&>(*p.target);
  TRY(file.truncate(0));
  auto from = mem::io_buffers::kernel(const_cast<char*>(data), size);
  uint64_t end;
  return TRY(file.write_at(from, 0, false, end)) == size ? result<void>() : error::nospc;
}

} // namespace oblako::fs
