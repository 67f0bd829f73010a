// clang-format off
// sources: core/posix/epoll.cc core/posix/fd_table.cc core/posix/file.cc core/mem/buffer_account.cc core/mem/app_memory.cc core/mem/io_buffers.cc
// clang-format on
// epoll over files whose readiness the test sets: what is reported, when, and how often.
#include "core/posix/epoll.hh"
#include "fake_kernel.hh"
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <set>

using namespace oblako;
using namespace oblako::posix;

namespace oblako::posix {
void open_standard_files() {}
result<mem::ref<file>> missing_file(int) {
  return error::badf;
}
} // namespace oblako::posix

namespace {

// As plain numbers: the host's header has enumerators of its own type.
constexpr uint32_t in = EPOLLIN, out = EPOLLOUT, hup = EPOLLHUP, edge_triggered = EPOLLET,
                   one_shot = EPOLLONESHOT;

int asked; // how often any file was asked for its state

class fake_file final : public file {
public:
  fake_file() : file(O_RDWR) {}
  uint32_t poll_events() override {
    ++asked;
    return events;
  }
  // New state; what was gained is notified, as every file does.
  void become(uint32_t e) {
    const uint32_t gained = e & ~events;
    events = e;
    if (gained)
      readiness().wake_all(gained);
  }
  uint32_t events = 0;
};

class epoll_test : public testing::Test {
protected:
  static constexpr size_t room = 64;

  void SetUp() override {
    test::live.clear();
    epoll_ = mem::make_shared<epoll_file>(O_RDWR).take();
    epoll_fd_ = *install_file(epoll_);
  }
  void TearDown() override {
    epoll_ = {};
    for (int fd; (fd = descriptors.next_used(0, ~0u >> 1)) >= 0;)
      fd_table::dropped(descriptors.remove(fd));
    test::allocations_left = ~size_t{0};
  }
  struct watched {
    mem::ref<fake_file> file;
    int fd;
  };
  watched make_file() {
    auto f = mem::make_shared<fake_file>().take();
    return {f, *install_file(f)};
  }
  result<void> add(const watched& w, uint32_t events, uint64_t data) {
    return epoll_->add(w.fd, *w.file, make(events, data));
  }
  static epoll_event make(uint32_t events, uint64_t data) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = data;
    return e;
  }
  // (data, events) of what is reported now.
  std::multiset<std::pair<uint64_t, uint32_t>> collect(size_t n = room) {
    std::unique_ptr<epoll_event[]> got(new epoll_event[n]);
    auto count = epoll_->collect(got.get(), n);
    EXPECT_TRUE(count.ok());
    std::multiset<std::pair<uint64_t, uint32_t>> result;
    for (size_t i = 0; count.ok() && i < *count; ++i)
      result.insert({uint64_t{got[i].data.u64}, uint32_t{got[i].events}});
    return result;
  }
  using reported = std::multiset<std::pair<uint64_t, uint32_t>>;

  mem::ref<epoll_file> epoll_;
  int epoll_fd_ = -1;
};

TEST_F(epoll_test, level) {
  auto a = make_file();
  ASSERT_TRUE(add(a, in, 7).ok());
  EXPECT_TRUE(collect().empty());
  a.file->become(in | out);
  EXPECT_EQ(collect(), (reported{{7, in}}));
  EXPECT_EQ(collect(), (reported{{7, in}}));
  a.file->become(0);
  EXPECT_TRUE(collect().empty());
}

TEST_F(epoll_test, ready_before_it_is_added) {
  auto a = make_file();
  a.file->become(in);
  ASSERT_TRUE(add(a, in | edge_triggered, 1).ok());
  EXPECT_EQ(collect(), (reported{{1, in}}));
  EXPECT_TRUE(collect().empty());
}

TEST_F(epoll_test, costs_what_is_ready) {
  std::vector<watched> many;
  for (int i = 0; i < 1000; ++i) {
    many.push_back(make_file());
    ASSERT_TRUE(add(many.back(), in, static_cast<uint64_t>(i)).ok());
  }
  many[500].file->become(in);
  many[700].file->become(in);
  asked = 0;
  EXPECT_EQ(collect().size(), 2u);
  EXPECT_EQ(asked, 2);
}

TEST_F(epoll_test, turns) {
  std::vector<watched> files;
  for (uint64_t i = 0; i < 5; ++i) {
    files.push_back(make_file());
    ASSERT_TRUE(add(files.back(), in, i).ok());
    files.back().file->become(in);
  }
  // Two at a time: in five rounds everybody was served twice.
  std::map<uint64_t, int> served;
  for (int round = 0; round < 5; ++round)
    for (auto [data, events] : collect(2))
      ++served[data];
  for (uint64_t i = 0; i < 5; ++i)
    EXPECT_EQ(served[i], 2) << i;
}

TEST_F(epoll_test, wants_only_some_events) {
  auto a = make_file();
  ASSERT_TRUE(add(a, out, 1).ok());
  a.file->become(in);
  asked = 0;
  EXPECT_TRUE(collect().empty());
  EXPECT_EQ(asked, 0); // it was not even queued
  a.file->become(in | hup);
  EXPECT_EQ(collect(), (reported{{1, hup}}));
}

TEST_F(epoll_test, same_number_another_file) {
  auto a = make_file();
  auto dup_of_a = watched{a.file, *install_file(a.file)};
  ASSERT_TRUE(add(a, in, 1).ok());
  fd_table::dropped(descriptors.remove(a.fd)); // the file lives on under another number
  auto b = make_file();
  ASSERT_EQ(b.fd, a.fd);
  ASSERT_TRUE(add(b, in, 2).ok());
  EXPECT_EQ(add(b, in, 2).code(), error::exist);
  a.file->become(in);
  b.file->become(in);
  EXPECT_EQ(collect(), (reported{{1, in}, {2, in}}));
  fd_table::dropped(descriptors.remove(dup_of_a.fd));
  EXPECT_EQ(collect(), (reported{{2, in}}));
}

TEST_F(epoll_test, a_file_that_closes_while_it_is_added) {
  auto f = mem::make_shared<fake_file>().take(); // never got a number
  EXPECT_EQ(epoll_->add(9, *f, make(in, 1)).code(), error::badf);
  EXPECT_EQ(f->watchers(), nullptr);
  EXPECT_TRUE(f->readiness().empty());
}

TEST_F(epoll_test, out_of_memory) {
  auto a = make_file();
  test::allocations_left = 0;
  EXPECT_EQ(add(a, in, 1).code(), error::nomem);
  test::allocations_left = ~size_t{0};
  EXPECT_TRUE(add(a, in, 1).ok());
}

TEST_F(epoll_test, nested_and_circles) {
  auto inner = mem::make_shared<epoll_file>(O_RDWR).take();
  const int inner_fd = *install_file(inner);
  auto a = make_file();
  ASSERT_TRUE(inner->add(a.fd, *a.file, make(in, 1)).ok());
  ASSERT_TRUE(epoll_->add(inner_fd, *inner, make(in, 2)).ok());
  EXPECT_EQ(inner->add(epoll_fd_, *epoll_, make(in, 3)).code(), error::loop);
  EXPECT_EQ(epoll_->add(epoll_fd_, *epoll_, make(in, 3)).code(), error::inval);
  a.file->become(in);
  EXPECT_EQ(collect(), (reported{{2, in}}));
  a.file->become(0);
  EXPECT_TRUE(collect().empty());
  // A chain has an end.
  auto last = inner;
  int last_fd = inner_fd;
  error code = error::none;
  for (int i = 0; i < 10 && code == error::none; ++i) {
    auto next = mem::make_shared<epoll_file>(O_RDWR).take();
    const int next_fd = *install_file(next);
    code = next->add(last_fd, *last, make(in, 1)).code();
    last = next;
    last_fd = next_fd;
  }
  EXPECT_EQ(code, error::loop);
}

// Random changes against a model that knows what must be reported.
TEST_F(epoll_test, random) {
  struct model_item {
    uint32_t events;
    bool edge, oneshot;
    bool armed = true;   // one-shot: not delivered yet
    bool notice = false; // edge: something happened since the last report
  };
  std::mt19937 random(5);
  std::vector<watched> files;
  std::map<size_t, model_item> model;
  for (int i = 0; i < 20; ++i)
    files.push_back(make_file());
  const auto looks_now = [&](size_t n, model_item& m) {
    m.notice = files[n].file->events & (m.events | hup);
  };
  for (int step = 0; step < 30000; ++step) {
    const size_t n = random() % files.size();
    const uint32_t events = (random() % 4 ? in : 0) | (random() % 3 ? 0 : out);
    const bool edge = random() % 2, oneshot = random() % 4 == 0;
    const uint32_t all = events | (edge ? edge_triggered : 0) | (oneshot ? one_shot : 0);
    switch (random() % 6) {
    case 0: {
      auto r = add(files[n], all, n);
      ASSERT_EQ(r.code(), model.count(n) ? error::exist : error::none);
      if (r.ok())
        looks_now(n, model[n] = {events, edge, oneshot});
      break;
    }
    case 1: {
      auto r = epoll_->modify(files[n].fd, *files[n].file, make(all, n));
      ASSERT_EQ(r.code(), model.count(n) ? error::none : error::noent);
      if (r.ok()) {
        const bool before = model[n].notice && model[n].armed;
        looks_now(n, model[n] = {events, edge, oneshot});
        // Still on the list from before: it is asked once more, with the same answer.
        model[n].notice |= before && (files[n].file->events & (events | hup));
      }
      break;
    }
    case 2: {
      auto r = epoll_->remove(files[n].fd, *files[n].file);
      ASSERT_EQ(r.code(), model.erase(n) ? error::none : error::noent);
      break;
    }
    case 3:
    case 4: {
      const uint32_t state =
          (random() % 2 ? in : 0) | (random() % 2 ? out : 0) | (random() % 20 ? 0 : hup);
      const uint32_t gained = state & ~files[n].file->events;
      files[n].file->become(state);
      if (model.count(n) && model[n].armed && (gained & (model[n].events | hup)))
        model[n].notice = true;
      break;
    }
    default: {
      reported want;
      for (auto& [i, m] : model) {
        const uint32_t ready = files[i].file->events & (m.events | hup);
        const bool due = m.armed && ready && (m.edge || m.oneshot ? m.notice : true);
        // Level-triggered items stay noticed as long as they are ready.
        if (due)
          want.insert({i, ready});
        m.notice = false;
        if (due && m.oneshot)
          m.armed = false;
      }
      ASSERT_EQ(collect(), want) << "step " << step;
    }
    }
  }
}

} // namespace
