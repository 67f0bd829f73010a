// clang-format off
// sources: core/posix/pipe.cc core/posix/fd_table.cc core/posix/file.cc core/mem/buffer_account.cc core/mem/app_memory.cc core/mem/io_buffers.cc
// clang-format on
// A pipe's ring of pages against a plain queue of bytes, and what its ends report.
#include "core/posix/pipe.hh"
#include "fake_kernel.hh"
#include <deque>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/epoll.h>
#include <vector>

using namespace oblako;
using namespace oblako::posix;

namespace oblako::posix {
void open_standard_files() {}
result<mem::ref<file>> missing_file(int) {
  return error::badf;
}
} // namespace oblako::posix

namespace {

struct watcher : sched::observer {
  watcher() : observer(notified) {}
  static bool notified(sched::observer& o, uint32_t events) {
    static_cast<watcher&>(o).seen |= events;
    return false;
  }
  uint32_t take() { return std::exchange(seen, 0); }
  uint32_t seen = 0;
};

struct two_ends {
  mem::ref<pipe_buffer> pipe = mem::make_shared<pipe_buffer>().take();
  mem::ref<pipe_end> in = end(O_RDONLY), out = end(O_WRONLY);

  mem::ref<pipe_end> end(uint32_t mode) {
    return mem::make_shared<pipe_end>(*pipe, mode | O_NONBLOCK, mem::ref<mem::counted>()).take();
  }
  result<size_t> read(void* to, size_t n) {
    auto b = mem::io_buffers::kernel(to, n);
    return in->read(b);
  }
  result<size_t> write(const void* from, size_t n) {
    auto b = mem::io_buffers::kernel(const_cast<void*>(from), n);
    return out->write(b);
  }
};

TEST(pipe, random_against_a_queue) {
  const size_t objects = test::live.size();
  {
    two_ends p;
    std::deque<uint8_t> model;
    std::mt19937 random(3);
    std::vector<uint8_t> buffer(100'000);
    uint8_t next = 0;
    for (int round = 0; round < 20000; ++round) {
      // Now and then a long run in one direction, so that it is empty and full at every offset.
      const size_t n = random() % 5 ? random() % 6000 : random() % buffer.size();
      if ((round / 50) % 2 ? random() % 4 : random() % 4 == 0) {
        for (size_t i = 0; i < n; ++i)
          buffer[i] = static_cast<uint8_t>(next + i);
        const size_t space = pipe_buffer::capacity - model.size();
        auto r = p.write(buffer.data(), n);
        const size_t want = n <= pipe_buffer::atomic_size && space < n ? 0 : min_of(n, space);
        ASSERT_EQ(r.ok() ? *r : 0, want);
        ASSERT_TRUE(r.ok() || r.code() == error::again);
        model.insert(model.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(want));
        next = static_cast<uint8_t>(next + want);
      } else {
        auto r = p.read(buffer.data(), n);
        const size_t want = min_of(n, model.size());
        ASSERT_EQ(r.ok() ? *r : 0, want);
        for (size_t i = 0; i < want; ++i)
          ASSERT_EQ(buffer[i], model[i]);
        model.erase(model.begin(), model.begin() + static_cast<ptrdiff_t>(want));
      }
      ASSERT_EQ(p.pipe->available(), model.size());
      ASSERT_EQ(p.in->poll_events() & EPOLLIN, model.empty() ? 0u : static_cast<uint32_t>(EPOLLIN));
    }
  }
  EXPECT_EQ(test::live.size(), objects);
}

TEST(pipe, notifies_the_other_side) {
  two_ends p;
  watcher reader, writer;
  p.in->readiness().add(reader);
  p.out->readiness().add(writer);
  std::vector<uint8_t> data(pipe_buffer::capacity);
  ASSERT_EQ(*p.write(data.data(), 1), 1u);
  EXPECT_TRUE(reader.take() & EPOLLIN);
  EXPECT_EQ(writer.take(), 0u);
  ASSERT_EQ(*p.write(data.data(), data.size() - 1 + 4096), data.size() - 1);
  EXPECT_EQ(p.out->poll_events() & EPOLLOUT, 0u);
  reader.take();
  ASSERT_EQ(*p.read(data.data(), 4096), 4096u);
  EXPECT_TRUE(writer.take() & EPOLLOUT);
  EXPECT_TRUE(p.out->poll_events() & EPOLLOUT);
  p.out->closed();
  EXPECT_TRUE(reader.take() & EPOLLHUP);
  EXPECT_TRUE(p.in->poll_events() & EPOLLHUP);
  p.in->closed();
  p.in->readiness().remove(reader);
  p.out->readiness().remove(writer);
}

TEST(pipe, ends) {
  two_ends p;
  char b[4];
  EXPECT_EQ(p.read(b, 4).code(), error::again);
  p.in->closed();
  EXPECT_EQ(p.write("abcd", 4).code(), error::pipe);
  EXPECT_TRUE(p.out->poll_events() & EPOLLERR);
  two_ends q;
  ASSERT_EQ(*q.write("abcd", 4), 4u);
  q.out->closed();
  EXPECT_EQ(*q.read(b, 4), 4u); // what was written is still read
  EXPECT_EQ(*q.read(b, 4), 0u); // then comes the end
}

TEST(pipe, out_of_memory) {
  two_ends p;
  std::vector<uint8_t> data(10000);
  test::allocations_left = 1;
  EXPECT_EQ(*p.write(data.data(), data.size()), 4096u);
  EXPECT_EQ(p.write(data.data(), data.size()).code(), error::nomem);
  test::allocations_left = ~size_t{0};
  EXPECT_EQ(*p.write(data.data(), data.size()), data.size());
  EXPECT_EQ(p.pipe->available(), data.size() + 4096);
}

} // namespace
