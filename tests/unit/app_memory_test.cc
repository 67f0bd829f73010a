// sources: core/mem/app_memory.cc core/mem/io_buffers.cc
// sources: arch/x64/app_access.S arch/x64/find_fixup.cc
// Copies to and from "application" memory that ends at an unmapped page: the marked instructions
// really fault here, and a signal handler does what the kernel's trap code does.
#include "arch/x64/app_access.hh"
#include "core/mem/app_memory.hh"
#include <algorithm>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <vector>

using namespace oblako;
using namespace oblako::mem;

namespace {

void on_fault(int, siginfo_t*, void* context) {
  auto& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  const uintptr_t fixup = find_fixup(static_cast<uintptr_t>(rip));
  if (!fixup)
    signal(SIGSEGV, SIG_DFL); // the same instruction faults again and ends the test
  else
    rip = static_cast<greg_t>(fixup);
}

class app_memory : public testing::Test {
protected:
  static constexpr size_t mapped = 4 * page_size;
  void SetUp() override {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &old_);
    auto* want = reinterpret_cast<void*>(uintptr_t{0x500000000000});
    void* p = mmap(want, mapped + page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_EQ(p, want);
    mprotect(p, mapped, PROT_READ | PROT_WRITE);
    start = static_cast<uint8_t*>(p);
    end = start + mapped;
  }
  void TearDown() override {
    munmap(start, mapped + page_size);
    sigaction(SIGSEGV, &old_, nullptr);
  }
  uint8_t *start, *end;
  struct sigaction old_;
};

constexpr size_t sizes[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,   15,  16,  17,   24,
                            31, 32, 33, 47, 48, 63, 64, 65, 127, 128, 129, 1000, 9000};

TEST_F(app_memory, copies_every_size_exactly) {
  for (size_t n : sizes)
    for (size_t offset : {0, 1, 7}) {
      std::vector<uint8_t> from(n + 2), back(n + 2, 0xee);
      for (size_t i = 0; i < from.size(); ++i)
        from[i] = static_cast<uint8_t>(i * 7 + 1);
      std::fill(start, end, 0x55);
      ASSERT_TRUE(copy_to_app(start + 16 + offset, from.data() + 1, n).ok());
      EXPECT_EQ(start[15 + offset], 0x55);
      EXPECT_EQ(start[16 + offset + n], 0x55);
      ASSERT_TRUE(copy_from_app(back.data() + 1, start + 16 + offset, n).ok());
      EXPECT_TRUE(std::equal(from.begin() + 1, from.end() - 1, back.begin() + 1)) << n;
      EXPECT_EQ(back[0], 0xee);
      EXPECT_EQ(back[n + 1], 0xee);
    }
}

TEST_F(app_memory, every_position_of_the_fault) {
  std::vector<uint8_t> kernel(10000, 1);
  for (size_t n : sizes)
    for (size_t inside = n > 200 ? n - 200 : 0; inside < n; ++inside) {
      EXPECT_EQ(copy_to_app(end - inside, kernel.data(), n).code(), error::fault);
      EXPECT_EQ(copy_from_app(kernel.data(), end - inside, n).code(), error::fault);
      EXPECT_EQ(zero_app(end - inside, n).code(), error::fault);
    }
  EXPECT_TRUE(copy_to_app(end - 9000, kernel.data(), 9000).ok());
}

TEST_F(app_memory, a_long_copy_tells_how_far_it_came) {
  std::vector<uint8_t> kernel(10000, 1);
  for (size_t n : {33, 100, 511, 512, 517, 9000})
    for (size_t short_of : {1, 3, 8, 13, 20}) {
      // Copies of 33 to 127 go on in steps of 16, of which a part may not be counted.
      const size_t most = n < 128 ? short_of + 15 : short_of;
      std::fill(start, end, 0x55);
      const size_t left = app_access_copy(end - n + short_of, kernel.data(), n);
      EXPECT_GE(left, short_of);
      EXPECT_LE(left, most);
      const uint8_t* begin = end - n + short_of;
      EXPECT_EQ(std::count(begin, begin + (n - left), 1), static_cast<ptrdiff_t>(n - left));
      EXPECT_EQ(app_access_copy(kernel.data(), begin, n), left);
    }
}

TEST_F(app_memory, addresses_that_are_not_the_applications) {
  uint64_t value = 0;
  for (uintptr_t bad :
       {uintptr_t{0}, uintptr_t{0xfff}, app_range_end, app_range_end - 4,
        uintptr_t{0x8000000000000000}, uintptr_t{0xffff800000001000}, ~uintptr_t{0}}) {
    auto* p = reinterpret_cast<uint64_t*>(bad);
    EXPECT_EQ(read_app(p).code(), error::fault);
    EXPECT_EQ(write_app(p, value).code(), error::fault);
    EXPECT_EQ(io_buffers::app(p, 8).code(), error::fault);
    EXPECT_TRUE(io_buffers::app(p, 0).ok());
    EXPECT_TRUE(copy_from_app(&value, p, 0).ok());
  }
  EXPECT_EQ(copy_from_app(&value, start, ~size_t{0}).code(), error::fault);
}

TEST_F(app_memory, strings) {
  char to[64];
  auto* s = reinterpret_cast<char*>(end) - 6;
  memcpy(s, "hello", 6);
  auto r = string_from_app(to, sizeof to, s);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.value(), 5u);
  EXPECT_STREQ(to, "hello");
  EXPECT_EQ(string_from_app(to, 5, s).code(), error::nametoolong);
  EXPECT_EQ(string_from_app(to, 6, s).value(), 5u);
  s[5] = 'x';
  EXPECT_EQ(string_from_app(to, sizeof to, s).code(), error::fault);
  EXPECT_EQ(string_from_app(to, sizeof to, nullptr).code(), error::fault);
}

TEST_F(app_memory, partial_transfers_count_what_moved) {
  std::vector<uint8_t> kernel(page_size, 3);
  auto b = io_buffers::app(end - 100, 300);
  ASSERT_TRUE(b.ok());
  auto moved = b->put(kernel.data(), 300);
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(moved.value(), 100u);
  EXPECT_EQ(end[-1], 3);
  EXPECT_EQ(b->put(kernel.data(), 200).code(), error::fault);
}

TEST_F(app_memory, vectors_are_walked_front_to_back) {
  iovec vector[5] = {
      {start, 3}, {start + 100, 0}, {start + 200, 5}, {start + 300, 100}, {start, 0}};
  memcpy(end - sizeof vector, vector, sizeof vector);
  iovec storage[5];
  auto b = io_buffers::app_vector(reinterpret_cast<iovec*>(end - sizeof vector), 5, storage);
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(b->remaining(), 108u);
  EXPECT_EQ(b->put("abcdefghij", 4).value(), 4u);
  EXPECT_EQ(b->put("efghij", 6).value(), 6u);
  EXPECT_EQ(memcmp(start, "abc", 3), 0);
  EXPECT_EQ(memcmp(start + 200, "defgh", 5), 0);
  EXPECT_EQ(memcmp(start + 300, "ij", 2), 0);
  b->skip(90);
  EXPECT_EQ(b->remaining(), 8u);
  b->truncate(5);
  EXPECT_EQ(b->put_zeros(100).value(), 5u);
  EXPECT_EQ(b->remaining(), 0u);
  EXPECT_EQ(b->put("x", 1).value(), 0u);

  auto again = io_buffers::app_vector(reinterpret_cast<iovec*>(end - sizeof vector), 5, storage);
  char back[8];
  EXPECT_EQ(again->get(back, 8).value(), 8u);
  EXPECT_EQ(memcmp(back, "abcdefgh", 8), 0);
}

TEST_F(app_memory, bad_vectors) {
  iovec storage[4];
  auto* app = reinterpret_cast<iovec*>(start);
  EXPECT_EQ(io_buffers::app_vector(app, 1025, storage).code(), error::inval);
  EXPECT_EQ(io_buffers::app_vector(reinterpret_cast<iovec*>(end - 8), 2, storage).code(),
            error::fault);
  app[0] = {start, size_t{1} << 63};
  EXPECT_EQ(io_buffers::app_vector(app, 1, storage).code(), error::inval);
  app[0] = app[1] = {start, (size_t{1} << 62) + 5};
  EXPECT_FALSE(io_buffers::app_vector(app, 2, storage).ok());
  app[0] = {reinterpret_cast<void*>(uintptr_t{0xffff800000000000}), 16};
  EXPECT_EQ(io_buffers::app_vector(app, 1, storage).code(), error::fault);
  app[0] = {nullptr, 0};
  EXPECT_TRUE(io_buffers::app_vector(app, 1, storage).ok());
}

} // namespace
