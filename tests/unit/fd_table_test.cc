// clang-format off
// sources: core/posix/fd_table.cc core/posix/file.cc core/mem/buffer_account.cc core/mem/app_memory.cc core/mem/io_buffers.cc
// clang-format on
// The descriptor table, also where memory and numbers run out.
#include "core/posix/file.hh"
#include "fake_kernel.hh"
#include <gtest/gtest.h>
#include <random>

using namespace oblako;
using namespace oblako::posix;

namespace oblako::posix {
void open_standard_files() {}
result<mem::ref<file>> missing_file(int) {
  return error::badf;
}
} // namespace oblako::posix

namespace {

int files_alive, files_closed;

class counting_file final : public file {
public:
  counting_file() : file(0) { ++files_alive; }
  ~counting_file() override { --files_alive; }
  void closed() override { ++files_closed; }
};

mem::ref<file> make_file() {
  return mem::make_shared<counting_file>().take();
}

class fd_table_test : public testing::Test {
protected:
  void SetUp() override { files_alive = files_closed = 0; }
  void TearDown() override {
    close_all();
    descriptors.set_limit(65536);
    test::allocations_left = ~size_t{0};
    EXPECT_EQ(files_alive, 0);
  }
  static void close_all() {
    for (int fd; (fd = descriptors.next_used(0, ~0u >> 1)) >= 0;)
      fd_table::dropped(descriptors.remove(fd));
  }
};

TEST_F(fd_table_test, lowest_number_first) {
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(*install_file(make_file()), i);
  for (int fd : {150, 3, 64, 63})
    fd_table::dropped(descriptors.remove(fd));
  EXPECT_EQ(*install_file(make_file()), 3);
  EXPECT_EQ(*install_file(make_file()), 63);
  EXPECT_EQ(*install_file(make_file()), 64);
  EXPECT_EQ(*install_file(make_file()), 150);
  EXPECT_EQ(*install_file(make_file()), 200);
}

TEST_F(fd_table_test, nothing_there) {
  EXPECT_EQ(get_file(0).code(), error::badf);
  EXPECT_EQ(get_file(-1).code(), error::badf);
  EXPECT_EQ(get_file(1 << 30).code(), error::badf);
  EXPECT_EQ(descriptors.remove(5), nullptr);
  EXPECT_EQ(descriptors.remove(-5), nullptr);
}

TEST_F(fd_table_test, the_last_descriptor_closes) {
  auto f = make_file();
  const int a = *install_file(f), b = *install_file(f);
  fd_table::dropped(descriptors.remove(a));
  EXPECT_EQ(files_closed, 0);
  EXPECT_TRUE(f->has_descriptors());
  fd_table::dropped(descriptors.remove(b));
  EXPECT_EQ(files_closed, 1);
  EXPECT_FALSE(f->has_descriptors());
  EXPECT_EQ(files_alive, 1); // we still hold it
}

TEST_F(fd_table_test, watchers_hear_of_it) {
  static file* heard;
  heard = nullptr;
  auto f = make_file();
  close_watcher w;
  w.closed = [](file& closed) {
    heard = &closed;
    closed.watchers() = nullptr;
  };
  f->watchers() = &w;
  fd_table::dropped(descriptors.remove(*install_file(f)));
  EXPECT_EQ(heard, f.get());
}

TEST_F(fd_table_test, limit) {
  descriptors.set_limit(5);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(install_file(make_file()).ok());
  EXPECT_EQ(install_file(make_file()).code(), error::mfile);
  auto f = make_file();
  EXPECT_EQ(descriptors.replace(5, f.get(), false).code(), error::badf);
  EXPECT_EQ(descriptors.replace(-1, f.get(), false).code(), error::badf);
  EXPECT_EQ(descriptors.install(f.get(), false, 5).code(), error::inval);
}

TEST_F(fd_table_test, out_of_memory_changes_nothing) {
  // Numbers that no earlier test has made room for.
  const int far = 400'000;
  descriptors.set_limit(1u << 20);
  auto f = make_file();
  test::allocations_left = 0;
  EXPECT_EQ(descriptors.replace(far, f.get(), false).code(), error::nomem);
  EXPECT_EQ(*install_file(f), 0);
  test::allocations_left = ~size_t{0};
  auto* const leaked = mem::ref<file>(f).leak();
  EXPECT_EQ(*descriptors.replace(far, leaked, false), nullptr);
  EXPECT_EQ(get_file(far)->get(), f.get());
}

// Against a model: random installs, replaces and removes.
TEST_F(fd_table_test, random) {
  std::mt19937 random(1);
  std::map<int, std::pair<file*, bool>> model;
  const auto lowest = [&](int from) {
    while (model.count(from))
      ++from;
    return from;
  };
  for (int round = 0; round < 20000; ++round) {
    const int fd = static_cast<int>(random() % 1000);
    const bool cloexec = random() % 2;
    auto f = make_file();
    switch (random() % 4) {
    case 0: {
      const int want = lowest(fd);
      ASSERT_EQ(*descriptors.install(f.get(), cloexec, static_cast<uint32_t>(fd)), want);
      model[want] = {f.leak(), cloexec};
      break;
    }
    case 1: {
      file* old = *descriptors.replace(fd, f.get(), cloexec);
      ASSERT_EQ(old, model.count(fd) ? model[fd].first : nullptr);
      if (old)
        fd_table::dropped(old);
      model[fd] = {f.leak(), cloexec};
      break;
    }
    case 2: {
      file* old = descriptors.remove(fd);
      ASSERT_EQ(old, model.count(fd) ? model[fd].first : nullptr);
      if (old)
        fd_table::dropped(old);
      model.erase(fd);
      break;
    }
    default: {
      const auto next = model.lower_bound(fd);
      ASSERT_EQ(descriptors.next_used(static_cast<uint32_t>(fd), ~0u >> 1),
                next == model.end() ? -1 : next->first);
      ASSERT_EQ(descriptors.close_on_exec(fd), model.count(fd) && model[fd].second);
    }
    }
  }
  ASSERT_EQ(static_cast<size_t>(files_alive), model.size());
}

} // namespace
