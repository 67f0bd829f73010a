#include "core/fs/proc_fd.hh"
#include "core/fs/node_files.hh"
#include "core/fs/path.hh"
#include "core/fs/pseudo.hh"
#include "core/log/log.hh"
#include "core/sched/thread.hh"

namespace oblako::fs {

namespace {

// A number as a name: no sign, no leading zeros. -1 if it is none.
int number_of(text name) {
  if (!name.size || name.size > 7 || (name.size > 1 && name.data[0] == '0'))
    return -1;
  int n = 0;
  for (size_t i = 0; i < name.size; ++i) {
    if (name.data[i] < '0' || name.data[i] > '9')
      return -1;
    n = n * 10 + (name.data[i] - '0');
  }
  return n;
}

// Stands for a file that has no node (pipe, socket, console): opening it shares the open file.
class open_file_node final : public node {
public:
  open_file_node(mem::ref<posix::file> f, uint32_t mode) : node(mode), file_(std::move(f)) {}
  uint64_t device() const override { return proc_tree.device; }
  result<void> status(struct stat& out) override { return file_->status(out); }
  result<mem::ref<posix::file>> open(uint32_t) override { return file_; }

private:
  const mem::ref<posix::file> file_;
};

class fd_link final : public node {
public:
  fd_link(int fd, mem::ref<posix::file> f) : node(S_IFLNK | 0700), fd_(fd), file_(std::move(f)) {}
  uint64_t device() const override { return proc_tree.device; }
  result<void> status(struct stat& out) override {
    fill_status(out, *this, 200'000 + static_cast<uint64_t>(fd_));
    out.st_size = 64;
    return {};
  }
  mem::ref<node> magic_target() override {
    if (node* n = file_->node())
      return mem::ref<node>::share(n);
    struct stat s;
    if (!file_->status(s).ok())
      return {};
    auto made = mem::make_shared<open_file_node>(file_, s.st_mode);
    return made.ok() ? mem::ref<node>(made.take()) : mem::ref<node>();
  }
  result<size_t> read_link(char* to, size_t size) override {
    node* n = file_->node();
    if (n && n->is_directory()) {
      // path_of() counts the terminator, a link's text has none.
      auto length = path_of(*n, to, size);
      return length.ok() ? result<size_t>(*length - 1) : length.code();
    }
    struct stat s;
    TRY(file_->status(s));
    const char* kind = S_ISFIFO(s.st_mode)   ? "pipe:[%lu]"
                       : S_ISSOCK(s.st_mode) ? "socket:[%lu]"
                       : S_ISCHR(s.st_mode)  ? "/dev/console"
                       : S_ISREG(s.st_mode)  ? "file:[%lu]"
                                             : "anon_inode:[%lu]";
    text_builder made;
    if (S_ISCHR(s.st_mode))
      made.append("/dev/console");
    else
      made.append(kind, static_cast<unsigned long>(s.st_ino));
    const size_t bytes = min_of(size, made.size());
    __builtin_memcpy(to, made.data(), bytes);
    return bytes;
  }

private:
  const int fd_;
  const mem::ref<posix::file> file_;
};

// The application's thread with the lowest number of at least `from`; -1: none.
int thread_from(int from) {
  struct search {
    int from, found;
  } s{from, -1};
  sched::for_each_thread(
      [](sched::thread& t, void* to) {
        auto& s = *static_cast<search*>(to);
        if (t.is_application && t.tid >= s.from && (s.found < 0 || t.tid < s.found))
          s.found = t.tid;
        return true;
      },
      &s);
  return s.found;
}

mem::ref<node> self_directory() {
  auto proc = root().lookup("proc");
  if (!proc.ok())
    return {};
  auto self = (*proc)->lookup("self");
  return self.ok() ? self.take() : mem::ref<node>();
}

enum class numbers : bool { descriptors, threads };

class number_directory final : public node {
public:
  explicit number_directory(numbers of) : node(S_IFDIR | 0500), of_(of) {}
  uint64_t device() const override { return proc_tree.device; }
  result<void> status(struct stat& out) override {
    fill_status(out, *this, 3 + static_cast<uint64_t>(of_));
    out.st_nlink = 2;
    return {};
  }
  result<mem::ref<posix::file>> open(uint32_t flags) override {
    return open_directory(*this, flags);
  }
  result<mem::ref<node>> lookup(text name) override {
    const int n = number_of(name);
    if (n < 0)
      return error::noent;
    if (of_ == numbers::threads)
      return thread_from(n) == n ? result<mem::ref<node>>(self_directory()) : error::noent;
    auto f = posix::get_file(n);
    if (!f.ok())
      return error::noent;
    return mem::ref<node>(TRY(mem::make_shared<fd_link>(n, f.take())));
  }
  // Positions are the numbers, behind those of "." and "..".
  result<bool> list(uint64_t& position, directory_entry& out) override {
    posix::open_standard_files();
    const int from = position < 3 ? 0 : static_cast<int>(position - 3);
    const bool threads = of_ == numbers::threads;
    const int n = threads ? thread_from(from)
                          : posix::descriptors.next_used(static_cast<uint32_t>(from), ~0u >> 1);
    if (n < 0)
      return false;
    name_size_ = log::format(name_, sizeof name_, "%d", n);
    out = {{name_, name_size_},
           200'000 + static_cast<uint64_t>(n),
           threads ? uint32_t{S_IFDIR} : uint32_t{S_IFLNK}};
    position = static_cast<uint64_t>(n) + 4;
    return true;
  }
  mem::ref<node> parent() override { return self_directory(); }
  text own_name() override { return of_ == numbers::threads ? "task" : "fd"; }

private:
  const numbers of_;
  char name_[12]; // of the entry listed last; guarded by tree_lock
  size_t name_size_ = 0;
};

result<mem::ref<node>> make_directory(numbers of) {
  return mem::ref<node>(TRY(mem::make_shared<number_directory>(of)));
}

} // namespace

result<mem::ref<node>> make_fd_directory() {
  return make_directory(numbers::descriptors);
}

result<mem::ref<node>> make_task_directory() {
  return make_directory(numbers::threads);
}

} // namespace oblako::fs
