// clang-format off
// sources: core/fs/node.cc core/fs/path.cc core/fs/tmpfs_node.cc core/fs/tmpfs_file.cc core/fs/tmpfs_directory.cc core/fs/node_files.cc core/fs/page_tree.cc core/fs/packed_root.cc core/fs/root.cc core/fs/pseudo.cc core/posix/fd_table.cc core/posix/file.cc core/posix/sys_open.cc core/posix/sys_dir.cc core/posix/sys_links.cc core/posix/sys_path_stat.cc core/posix/sys_path_file.cc core/posix/sys_file.cc core/posix/sys_read.cc core/posix/sys_write.cc core/posix/sys_descriptors.cc core/posix/file_locks.cc core/posix/range_locks.cc core/posix/sys_umask.cc core/posix/sys_attributes.cc core/mem/buffer_account.cc core/mem/app_memory.cc core/mem/io_buffers.cc
// clang-format on
// The file tree against the host's: the same random calls are made to both, and every result, every
// errno and, at the end, the whole tree must be equal. Once in an empty directory, once over a
// packed root, where names and contents come out of the image.
#include "core/fs/path.hh"
#include "core/fs/pseudo.hh"
#include "core/fs/tmpfs.hh"
#include "fake_kernel.hh"
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <sys/syscall.h>
#include <unistd.h>

using namespace oblako;
namespace host = std::filesystem;

extern "C" {
// The stubs of the calls are assembled, never run.
void syscall_exit_slow() {
  abort();
}
void syscall_exit_slow_restartable() {
  abort();
}
void oblako_read_console() {} // what read() needs linked
long sys_getpid() {           // and what locks of a process do
  return getpid();
}

long do_openat(int, const char*, int, unsigned);
long do_close(int);
long do_read(int, void*, size_t);
long do_write(int, const void*, size_t);
long do_pread64(int, void*, size_t, int64_t);
long do_pwrite64(int, const void*, size_t, int64_t);
long do_lseek(int, int64_t, int);
long do_ftruncate(int, int64_t);
long do_fallocate(int, int, int64_t, int64_t);
long do_fstat(int, struct stat*);
long do_newfstatat(int, const char*, struct stat*, int);
long do_faccessat(int, const char*, int);
long do_mkdirat(int, const char*, unsigned);
long do_unlinkat(int, const char*, int);
long do_renameat2(int, const char*, int, const char*, unsigned);
long do_linkat(int, const char*, int, const char*, int);
long do_symlinkat(const char*, int, const char*);
long do_readlinkat(int, const char*, char*, size_t);
long do_fchmodat(int, const char*, unsigned);
long do_getdents64(int, void*, size_t);
long do_fchdir(int);
long do_getcwd(char*, size_t);
}

namespace oblako::posix {
void open_standard_files() {}
result<mem::ref<file>> missing_file(int) {
  return error::badf;
}
} // namespace oblako::posix
namespace oblako::fs {
constinit const pseudo_tree dev_tree{"/dev", 0x11, nullptr, 0},
    proc_tree{"/proc", 0x12, nullptr, 0}, sys_tree{"/sys", 0x13, nullptr, 0};
} // namespace oblako::fs
namespace oblako::log {
size_t vformat(char* buffer, size_t size, const char* format, va_list arguments) {
  return static_cast<size_t>(vsnprintf(buffer, size, format, arguments));
}
} // namespace oblako::log

namespace {

// Application memory must lie below the stack's addresses: small pieces of ASan's heap do.
struct app_text {
  explicit app_text(const std::string& s) : bytes(strdup(s.c_str())) {}
  ~app_text() { free(bytes); }
  operator const char*() const { return bytes; }
  char* const bytes;
};

long of_host(long r) {
  return r < 0 ? -errno : r;
}

// So deep that no ".." of a path or of a chain of links leads out.
constexpr int depth = 60;
int test_number; // our tree outlives a test; the host's folder does not
std::string deep_path() {
  std::string path = "/t" + std::to_string(test_number);
  for (int i = 0; i < depth; ++i)
    path += "/w";
  return path;
}

class tree_test : public testing::Test {
protected:
  void SetUp() override {
    // A tmpfs counts links of directories as ours does.
    char name[64];
    snprintf(name, sizeof name, "%s/tree_test_XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    umask(022);
    ++test_number;
    host::create_directories(folder_.string() + deep_path());
    for (size_t i = 1; i <= deep_path().size(); ++i)
      if (i == deep_path().size() || deep_path()[i] == '/') {
        ASSERT_EQ(do_mkdirat(AT_FDCWD, app_text(deep_path().substr(0, i)), 0755), 0);
      }
  }
  void TearDown() override {
    for (int fd; (fd = posix::descriptors.next_used(0, ~0u >> 1)) >= 0;)
      do_close(fd);
    close(host_base_);
    for (const auto& o : open_)
      close(o.host);
    host::remove_all(folder_);
    test::frame_limit = 1u << 20;
  }

  // Both trees begin at a fresh directory `base`.
  void start(bool packed) {
    const std::string where = folder_.string() + deep_path();
    static int number;
    const std::string base = "base" + std::to_string(number++);
    host::create_directory(where + "/" + base);
    if (packed)
      fill_and_mount(where + "/" + base, base);
    else
      ASSERT_EQ(do_mkdirat(AT_FDCWD, app_text(deep_path() + "/" + base), 0755), 0);
    host_base_ = ::open((where + "/" + base).c_str(), O_RDONLY | O_DIRECTORY);
    our_base_ = static_cast<int>(
        do_openat(AT_FDCWD, app_text(deep_path() + "/" + base), O_RDONLY | O_DIRECTORY, 0));
    ASSERT_GE(host_base_, 0);
    ASSERT_GE(our_base_, 0);
  }

  void fill_and_mount(const std::string& at, const std::string& base) {
    for (const char* d : {"/a", "/b", "/a/a", "/a/b", "/b/c"})
      host::create_directory(at + d);
    for (const char* f : {"/c", "/a/c", "/a/a/a", "/b/a", "/b/b"}) {
      std::ofstream(at + f) << std::string(static_cast<size_t>(strlen(f)) * 3000, f[1]) << f;
      chmod((at + f).c_str(), 0644);
    }
    host::create_symlink("a/c", at + "/d");
    host::create_symlink("../b", at + "/a/d");
    const auto script = host::path(__FILE__).parent_path() / "../../scripts/pack_root.py";
    const std::string blob = folder_.string() + "/blob";
    ASSERT_EQ(system(("python3 '" + script.string() + "' '" + at + "' '" + blob + "'").c_str()), 0);
    std::ifstream in(blob, std::ios::binary);
    blob_.assign(std::istreambuf_iterator<char>(in), {});
    image_ = std::make_unique<fs::packed_root>(*fs::packed_root::open(blob_.data(), blob_.size()));
    fs::set_tmpfs_image(image_.get());
    fs::tree_guard guard(fs::tree_lock);
    const std::string above = deep_path();
    auto parent = fs::find(AT_FDCWD, text(above.data(), above.size()), fs::last_link::follow);
    ASSERT_TRUE(parent.ok());
    ASSERT_TRUE(
        static_cast<fs::tmpfs_directory&>(**parent)
            .place_node(
                {base.data(), base.size()},
                mem::make_shared<fs::tmpfs_directory>(S_IFDIR | 0755u, uint64_t{1}, 0u).take())
            .ok());
  }

  unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }

  std::string random_path() {
    static const char* const parts[] = {"a", "b", "c", "d", "a", "b", ".", ".."};
    std::string path;
    const unsigned n = 1 + pick(4);
    for (unsigned i = 0; i < n; ++i)
      path += (i ? (pick(20) ? "/" : "//") : "") + std::string(parts[pick(8)]);
    if (pick(12) == 0)
      path += "/";
    return path;
  }

  void expect_same(long ours, long theirs, const std::string& what) {
    ASSERT_EQ(ours, theirs) << what << " (step " << step_ << ")";
  }

  void one_step();
  void open_something(const std::string& path);
  void use_an_open_file();
  void compare_status(const std::string& path, int flags);
  void compare_trees(const std::string& below);
  void run(unsigned seed, int steps);

  struct open_pair {
    int ours, host;
  };

  host::path folder_;
  int host_base_ = -1, our_base_ = -1;
  std::vector<uint8_t> blob_;
  std::unique_ptr<fs::packed_root> image_;
  std::vector<open_pair> open_;
  std::mt19937 random_;
  int step_ = 0;
};

void tree_test::compare_status(const std::string& path, int flags) {
  auto ours = std::make_unique<struct stat>();
  struct stat theirs;
  const long a = do_newfstatat(our_base_, app_text(path), ours.get(), flags);
  const long b = of_host(fstatat(host_base_, path.c_str(), &theirs, flags));
  expect_same(a, b, "stat " + path);
  if (a != 0)
    return;
  EXPECT_EQ(ours->st_mode, theirs.st_mode) << path;
  EXPECT_EQ(ours->st_nlink, theirs.st_nlink) << path << " step " << step_;
  if (!S_ISDIR(theirs.st_mode)) {
    EXPECT_EQ(ours->st_size, theirs.st_size) << path << " step " << step_;
  }
}

void tree_test::open_something(const std::string& path) {
  static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
  int flags = modes[pick(4)];
  for (int f : {O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY})
    if (pick(4) == 0)
      flags |= f;
  // Linux gives EINVAL for both from 6.3 on, and made a file before.
  if ((flags & O_CREAT) && (flags & O_DIRECTORY))
    flags &= ~O_DIRECTORY;
  const long ours = do_openat(our_base_, app_text(path), flags, 0644);
  const long theirs = of_host(openat(host_base_, path.c_str(), flags, 0644));
  expect_same(ours < 0 ? ours : 0, theirs < 0 ? theirs : 0,
              "open " + path + " flags " + std::to_string(flags));
  if (ours >= 0 && theirs >= 0)
    open_.push_back({static_cast<int>(ours), static_cast<int>(theirs)});
  if (open_.size() > 12) {
    const size_t victim = pick(static_cast<unsigned>(open_.size()));
    do_close(open_[victim].ours);
    close(open_[victim].host);
    open_.erase(open_.begin() + static_cast<ptrdiff_t>(victim));
  }
}

void tree_test::use_an_open_file() {
  if (open_.empty())
    return;
  const auto f = open_[pick(static_cast<unsigned>(open_.size()))];
  constexpr unsigned most = 20000;
  std::unique_ptr<char[]> a(new char[most]), b(new char[most]);
  const size_t size = pick(10) ? pick(300) : pick(most);
  const int64_t offset = pick(4) ? pick(10000) : pick(60000);
  std::fill_n(a.get(), size, static_cast<char>(random_()));
  std::copy_n(a.get(), size, b.get());
  long ours = 0, theirs = 0;
  bool reads = false;
  const unsigned what = pick(8);
  switch (what) {
  case 0:
    ours = do_write(f.ours, a.get(), size);
    theirs = of_host(write(f.host, b.get(), size));
    break;
  case 1:
    ours = do_pwrite64(f.ours, a.get(), size, offset);
    theirs = of_host(pwrite(f.host, b.get(), size, offset));
    break;
  case 2:
    reads = true;
    ours = do_read(f.ours, a.get(), size);
    theirs = of_host(read(f.host, b.get(), size));
    break;
  case 3:
  case 4:
    reads = true;
    ours = do_pread64(f.ours, a.get(), size, offset);
    theirs = of_host(pread(f.host, b.get(), size, offset));
    break;
  case 5: {
    const int whence = static_cast<int>(pick(3));
    struct stat s;
    // Directory positions are each file system's own.
    if (fstat(f.host, &s) == 0 && S_ISDIR(s.st_mode))
      return;
    const int64_t by = static_cast<int64_t>(pick(20000)) - 5000;
    ours = do_lseek(f.ours, by, whence);
    theirs = of_host(lseek(f.host, by, whence));
    break;
  }
  case 6:
    ours = do_ftruncate(f.ours, offset);
    theirs = of_host(ftruncate(f.host, offset));
    break;
  default: {
    // Punched, zeroed or allocated; directories differ between file systems.
    struct stat s;
    if (fstat(f.host, &s) != 0 || !S_ISREG(s.st_mode))
      return;
    const int mode = pick(2) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
    ours = do_fallocate(f.ours, mode, offset, static_cast<int64_t>(size));
    theirs = of_host(fallocate(f.host, mode, offset, static_cast<off_t>(size)));
  }
  }
  expect_same(ours, theirs, "use of an open file, case " + std::to_string(what));
  if (reads && ours > 0) {
    ASSERT_EQ(memcmp(a.get(), b.get(), static_cast<size_t>(ours)), 0) << "step " << step_;
  }
}

void tree_test::one_step() {
  const std::string p = random_path(), q = random_path();
  const app_text ap(p), aq(q);
  switch (pick(16)) {
  case 0:
    return expect_same(do_mkdirat(our_base_, ap, 0755),
                       of_host(mkdirat(host_base_, p.c_str(), 0755)), "mkdir " + p);
  case 1:
    return expect_same(do_unlinkat(our_base_, ap, AT_REMOVEDIR),
                       of_host(unlinkat(host_base_, p.c_str(), AT_REMOVEDIR)), "rmdir " + p);
  case 2:
    return expect_same(do_unlinkat(our_base_, ap, 0), of_host(unlinkat(host_base_, p.c_str(), 0)),
                       "unlink " + p);
  case 3:
  case 4: {
    const unsigned flags = pick(5) == 0 ? 1 : pick(5) == 0 ? 2 : 0;
    return expect_same(
        do_renameat2(our_base_, ap, our_base_, aq, flags),
        of_host(syscall(SYS_renameat2, host_base_, p.c_str(), host_base_, q.c_str(), flags)),
        "rename " + p + " to " + q + " flags " + std::to_string(flags));
  }
  case 5: {
    const int flags = pick(2) ? AT_SYMLINK_FOLLOW : 0;
    return expect_same(do_linkat(our_base_, ap, our_base_, aq, flags),
                       of_host(linkat(host_base_, p.c_str(), host_base_, q.c_str(), flags)),
                       "link " + p + " as " + q);
  }
  case 6:
    return expect_same(do_symlinkat(ap, our_base_, aq),
                       of_host(symlinkat(p.c_str(), host_base_, q.c_str())),
                       "symlink " + p + " at " + q);
  case 7: {
    std::unique_ptr<char[]> ours(new char[64]), theirs(new char[64]);
    const long a = do_readlinkat(our_base_, ap, ours.get(), 64);
    const long b = of_host(readlinkat(host_base_, p.c_str(), theirs.get(), 64));
    expect_same(a, b, "readlink " + p);
    if (a > 0) {
      EXPECT_EQ(memcmp(ours.get(), theirs.get(), static_cast<size_t>(a)), 0);
    }
    return;
  }
  case 8:
    return compare_status(p, pick(2) ? AT_SYMLINK_NOFOLLOW : 0);
  case 9:
    return expect_same(do_faccessat(our_base_, ap, F_OK),
                       of_host(faccessat(host_base_, p.c_str(), F_OK, 0)), "access " + p);
  case 10:
  case 11:
  case 12:
    return open_something(p);
  default:
    return use_an_open_file();
  }
}

// Names and what they are, both sides, recursively; contents of regular files byte by byte.
void tree_test::compare_trees(const std::string& below) {
  const int fd = static_cast<int>(do_openat(our_base_, app_text(below), O_RDONLY | O_DIRECTORY, 0));
  ASSERT_GE(fd, 0) << below;
  std::vector<std::string> ours, theirs;
  std::unique_ptr<char[]> buffer(new char[300]);
  for (long n; (n = do_getdents64(fd, buffer.get(), 300)) > 0;)
    for (long at = 0; at < n;) {
      const auto* e = reinterpret_cast<const dirent64*>(buffer.get() + at);
      ours.push_back(e->d_name);
      at += e->d_reclen;
    }
  do_close(fd);
  DIR* d = fdopendir(openat(host_base_, below.c_str(), O_RDONLY | O_DIRECTORY));
  while (const dirent* e = readdir(d))
    theirs.push_back(e->d_name);
  closedir(d);
  std::sort(ours.begin(), ours.end());
  std::sort(theirs.begin(), theirs.end());
  ASSERT_EQ(ours, theirs) << below;
  for (const auto& name : theirs) {
    if (name == "." || name == "..")
      continue;
    const std::string path = below + "/" + name;
    compare_status(path, AT_SYMLINK_NOFOLLOW);
    struct stat s;
    ASSERT_EQ(fstatat(host_base_, path.c_str(), &s, AT_SYMLINK_NOFOLLOW), 0);
    if (S_ISDIR(s.st_mode))
      compare_trees(path);
    if (!S_ISREG(s.st_mode))
      continue;
    const int a = static_cast<int>(do_openat(our_base_, app_text(path), O_RDONLY, 0));
    const int b = openat(host_base_, path.c_str(), O_RDONLY);
    std::unique_ptr<char[]> x(new char[65536]), y(new char[65536]);
    for (;;) {
      const long n = do_read(a, x.get(), 65536);
      ASSERT_EQ(n, read(b, y.get(), 65536)) << path;
      if (n <= 0)
        break;
      ASSERT_EQ(memcmp(x.get(), y.get(), static_cast<size_t>(n)), 0) << path;
    }
    do_close(a);
    close(b);
  }
}

void tree_test::run(unsigned seed, int steps) {
  random_.seed(seed);
  for (step_ = 0; step_ < steps; ++step_) {
    one_step();
    if (HasFailure())
      return;
    if (step_ % 500 == 499)
      compare_trees(".");
  }
}

TEST_F(tree_test, like_the_host) {
  for (unsigned seed = 1; seed <= 6 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    start(false);
    run(seed, 5000);
  }
}

TEST_F(tree_test, like_the_host_over_a_packed_root) {
  for (unsigned seed = 1; seed <= 6 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    start(true);
    run(seed * 100, 3000);
  }
}

// Every call with every allocation failing in turn: an error, no leak, no crash.
TEST_F(tree_test, out_of_memory) {
  start(false);
  const auto busy = [&](unsigned seed) {
    random_.seed(seed);
    for (int i = 0; i < 60; ++i) {
      const std::string p = random_path(), q = random_path();
      const app_text ap(p), aq(q);
      (void)do_mkdirat(our_base_, ap, 0755);
      const long fd = do_openat(our_base_, aq, O_CREAT | O_RDWR, 0644);
      if (fd >= 0) {
        std::unique_ptr<char[]> data(new char[9000]());
        (void)do_pwrite64(static_cast<int>(fd), data.get(), 9000, 70000);
        do_close(static_cast<int>(fd));
      }
      (void)do_renameat2(our_base_, ap, our_base_, aq, 0);
      (void)do_linkat(our_base_, aq, our_base_, ap, 0);
      (void)do_symlinkat(ap, our_base_, aq);
      (void)do_unlinkat(our_base_, ap, pick(2) ? AT_REMOVEDIR : 0);
    }
  };
  for (size_t n = 0; n < 400; ++n) {
    test::allocations_left = n;
    busy(static_cast<unsigned>(n));
    test::allocations_left = ~size_t{0};
  }
  test::allocations_left = ~size_t{0};
}

TEST_F(tree_test, memory_returns) {
  start(false);
  const size_t objects = test::live.size(), frames = test::live_frames;
  std::unique_ptr<char[]> data(new char[50000]());
  for (int i = 0; i < 50; ++i) {
    const app_text name("f" + std::to_string(i));
    const int fd = static_cast<int>(do_openat(our_base_, name, O_CREAT | O_RDWR, 0644));
    ASSERT_EQ(do_pwrite64(fd, data.get(), 50000, int64_t{1} << (i % 45)), 50000);
    do_close(fd);
  }
  for (int i = 0; i < 50; ++i)
    ASSERT_EQ(do_unlinkat(our_base_, app_text("f" + std::to_string(i)), 0), 0);
  EXPECT_EQ(test::live.size(), objects);
  EXPECT_EQ(test::live_frames, frames);
}

TEST_F(tree_test, no_space_left) {
  start(false);
  const int fd = static_cast<int>(do_openat(our_base_, app_text("full"), O_CREAT | O_RDWR, 0644));
  // The last 1/32 of memory is not for files.
  test::frame_limit = (test::live_frames + 100) * 32 / 31 + 1;
  std::unique_ptr<char[]> data(new char[4096]());
  long n;
  size_t pages = 0;
  while ((n = do_write(fd, data.get(), 4096)) == 4096)
    ++pages;
  EXPECT_EQ(n, -ENOSPC);
  EXPECT_GE(pages, 98u);
  EXPECT_LE(pages, 103u);
  EXPECT_EQ(do_ftruncate(fd, 0), 0);
  EXPECT_EQ(do_pwrite64(fd, data.get(), 4096, 0), 4096);
}

TEST_F(tree_test, working_directory) {
  start(false);
  ASSERT_EQ(do_mkdirat(our_base_, app_text("sub"), 0755), 0);
  const int fd = static_cast<int>(do_openat(our_base_, app_text("sub"), O_RDONLY, 0));
  ASSERT_EQ(do_fchdir(fd), 0);
  std::unique_ptr<char[]> path(new char[4096]);
  const long n = do_getcwd(path.get(), 4096);
  ASSERT_GT(n, 0);
  EXPECT_EQ(strlen(path.get()) + 1, static_cast<size_t>(n));
  EXPECT_EQ(std::string(path.get()).substr(0, deep_path().size()), deep_path());
  EXPECT_EQ(std::string(path.get()).substr(static_cast<size_t>(n) - 5), "/sub");
  EXPECT_EQ(do_getcwd(path.get(), static_cast<size_t>(n) - 1), -ERANGE);
  ASSERT_EQ(do_unlinkat(our_base_, app_text("sub"), AT_REMOVEDIR), 0);
  EXPECT_EQ(do_getcwd(path.get(), 4096), -ENOENT);
  EXPECT_EQ(do_openat(AT_FDCWD, app_text("x"), O_CREAT | O_RDWR, 0644), -ENOENT);
  const int top = static_cast<int>(do_openat(AT_FDCWD, app_text("/"), O_RDONLY, 0));
  ASSERT_EQ(do_fchdir(top), 0);
}

TEST_F(tree_test, boot_files) {
  const char* const contents = "nameserver 10.0.2.3\n";
  ASSERT_TRUE(fs::write_boot_file("/etc/resolv.conf", contents, strlen(contents)).ok());
  ASSERT_TRUE(fs::write_boot_file("/new/folder/file", "x", 1).ok());
  const int fd = static_cast<int>(do_openat(AT_FDCWD, app_text("/etc/resolv.conf"), O_RDONLY, 0));
  std::unique_ptr<char[]> data(new char[100]);
  EXPECT_EQ(do_read(fd, data.get(), 100), static_cast<long>(strlen(contents)));
  EXPECT_EQ(memcmp(data.get(), contents, strlen(contents)), 0);
  EXPECT_EQ(do_faccessat(AT_FDCWD, app_text("/new/folder/file"), F_OK), 0);
  EXPECT_EQ(do_faccessat(AT_FDCWD, app_text("/etc/hosts"), F_OK), 0);
}

} // namespace
