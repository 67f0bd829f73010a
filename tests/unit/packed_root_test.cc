// clang-format off
// sources: core/fs/packed_root.cc
// clang-format on
// What scripts/pack_root.py writes is what the kernel reads; and whatever else it is given, it
// answers with an error or with values inside the blob.
#include "core/base/types.hh"
#include "core/fs/packed_root.hh"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <string>
#include <sys/stat.h>
#include <vector>

using namespace oblako;
using namespace oblako::fs;
namespace host = std::filesystem;

namespace {

std::string as_string(text t) {
  return {t.data, t.size};
}

// A folder that is packed by the real packer, and removed afterwards.
class packed_root_test : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/packed_root_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    host::create_directories(folder_ / "root/etc/deep/er");
    host::create_directories(folder_ / "root/empty");
    write("root/etc/app.conf", "setting 1\n");
    write("root/etc/nothing", "");
    write("root/etc/deep/er/file", std::string(5000, 'x'));
    write("root/zeros", std::string(100'000, 'z'));
    for (int i = 0; i < 100; ++i)
      write("root/etc/deep/n" + std::to_string(i), std::to_string(i));
    host::create_symlink("etc/app.conf", folder_ / "root/link");
    chmod((folder_ / "root/etc/app.conf").c_str(), 0755);
    const timespec times[2] = {{0, 0}, {1'234'567'890, 999'999'999}};
    utimensat(AT_FDCWD, (folder_ / "root/etc/app.conf").c_str(), times, 0);
    pack();
  }
  void TearDown() override { host::remove_all(folder_); }

  void write(const std::string& path, const std::string& contents) {
    std::ofstream(folder_ / path, std::ios::binary) << contents;
  }
  void pack() {
    const auto script = host::path(__FILE__).parent_path() / "../../scripts/pack_root.py";
    const std::string command = "python3 '" + script.string() + "' '" +
                                (folder_ / "root").string() + "' '" + (folder_ / "blob").string() +
                                "'";
    ASSERT_EQ(system(command.c_str()), 0);
    std::ifstream in(folder_ / "blob", std::ios::binary);
    blob_.assign(std::istreambuf_iterator<char>(in), {});
  }
  packed_root::entry find(const packed_root& r, const std::vector<const char*>& path) {
    auto e = *r.at(0);
    for (const char* name : path) {
      auto next = r.lookup(e, name);
      EXPECT_TRUE(next.ok()) << name;
      if (!next.ok())
        break;
      e = *next;
    }
    return e;
  }

  host::path folder_;
  std::vector<uint8_t> blob_;
};

TEST_F(packed_root_test, reads_what_was_packed) {
  auto opened = packed_root::open(blob_.data(), blob_.size());
  ASSERT_TRUE(opened.ok());
  const packed_root& r = *opened;
  const auto conf = find(r, {"etc", "app.conf"});
  EXPECT_EQ(as_string({reinterpret_cast<const char*>(conf.data), conf.size}), "setting 1\n");
  EXPECT_EQ(conf.mode, static_cast<uint32_t>(S_IFREG | 0755));
  EXPECT_EQ(conf.modified, 1'234'567'890u);
  EXPECT_EQ(find(r, {"etc", "nothing"}).size, 0u);
  const auto deep = find(r, {"etc", "deep", "er", "file"});
  EXPECT_EQ(deep.size, 5000u);
  EXPECT_EQ((deep.data - blob_.data()) % 4096, 0); // mappable in place
  const auto link = find(r, {"link"});
  EXPECT_TRUE(S_ISLNK(link.mode));
  EXPECT_EQ(as_string({reinterpret_cast<const char*>(link.data), link.size}), "etc/app.conf");
  const auto zeros = find(r, {"zeros"});
  EXPECT_TRUE(zeros.compressed());
  EXPECT_EQ(zeros.size, 100'000u);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(find(r, {"etc", "deep", ("n" + std::to_string(i)).c_str()}).size, i < 10 ? 1u : 2u);
  EXPECT_EQ(find(r, {"empty"}).child_count, 0u);
  EXPECT_EQ(r.lookup(*r.at(0), "absent").code(), error::noent);
  EXPECT_EQ(r.lookup(conf, "x").code(), error::notdir);
  EXPECT_EQ(r.at(r.node_count()).code(), error::io);
}

TEST_F(packed_root_test, packs_the_same_twice) {
  const auto first = blob_;
  pack();
  EXPECT_EQ(first, blob_);
}

// Reads everything that can be reached, from the root and by number.
uint64_t read_all(const packed_root& r) {
  uint64_t sum = 0;
  std::vector<uint32_t> todo{0};
  size_t steps = 0;
  while (!todo.empty()) {
    const uint32_t number = todo.back();
    todo.pop_back();
    // A tree has each node once; damage may name one several times, but never in a circle.
    if (++steps > 200'000)
      break;
    auto e = r.at(number);
    if (!e.ok())
      continue;
    for (size_t i = 0; i < e->name.size; ++i)
      sum += static_cast<uint8_t>(e->name.data[i]);
    if (S_ISDIR(e->mode)) {
      (void)r.lookup(*e, "etc").ok();
      (void)r.lookup(*e, "n50").ok();
      for (uint32_t i = 0; i < e->child_count; ++i) {
        EXPECT_GT(e->first_child + i, number);
        todo.push_back(e->first_child + i);
      }
      continue;
    }
    for (uint64_t i = 0; i < e->stored_size; i += 97)
      sum += e->data[i];
    if (e->stored_size)
      sum += e->data[e->stored_size - 1];
  }
  for (uint32_t n = 0; n < min_of(r.node_count(), 1000u); ++n)
    (void)r.at(n).ok();
  return sum;
}

// An allocation of exactly that size, so that ASan sees every byte too far.
void try_blob(const std::vector<uint8_t>& bytes) {
  std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  auto r = packed_root::open(exact.get(), bytes.size());
  if (r.ok())
    read_all(*r);
}

TEST_F(packed_root_test, survives_damage) {
  std::mt19937 random(7);
  const size_t table = 40 + 40 * 110;
  for (int round = 0; round < 4000; ++round) {
    auto damaged = blob_;
    const int changes = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < changes; ++i) {
      // Mostly in the header and the tables, where it hurts.
      const size_t at = random() % (random() % 4 ? table : damaged.size());
      switch (random() % 3) {
      case 0:
        damaged[at] = static_cast<uint8_t>(random());
        break;
      case 1:
        damaged[at] ^= static_cast<uint8_t>(1u << random() % 8);
        break;
      default:
        damaged[at] = random() % 2 ? 0xff : 0;
      }
    }
    if (random() % 4 == 0)
      damaged.resize(random() % damaged.size());
    try_blob(damaged);
  }
}

TEST_F(packed_root_test, survives_every_truncation_of_its_tables) {
  for (size_t size = 0; size < 40 + 40 * 12; ++size)
    try_blob({blob_.begin(), blob_.begin() + static_cast<ptrdiff_t>(size)});
}

TEST_F(packed_root_test, survives_garbage) {
  std::mt19937 random(9);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint8_t> garbage(random() % 4096);
    for (auto& b : garbage)
      b = static_cast<uint8_t>(random());
    if (garbage.size() > 12 && random() % 2)
      memcpy(garbage.data(), blob_.data(), 12);
    try_blob(garbage);
  }
}

} // namespace
