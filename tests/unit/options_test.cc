// The kernel command line: options, virtio-mmio slots, the application's arguments.
// sources: core/boot/options.cc core/boot/memory_expressions.cc
#include "core/boot/command_line.hh"
#include "core/boot/memory_expressions.hh"
#include "core/boot/options.hh"
#include "core/mem/frames.hh"
#include <cstdarg>
#include <cstdio>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

namespace {
std::vector<std::string> warnings;
}

void oblako::log::warning(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  warnings.push_back(text);
}

// What oblako_expand_memory() asks.
oblako::mem::frame_statistics oblako::mem::frame_usage() {
  return {64 << 20, 60 << 20};
}

namespace {
using namespace oblako::boot;

// The parser keeps what it read for the machine's life: each test looks at what it added.
struct parsed {
  explicit parsed(const std::string& line) {
    const virtio_mmio_slot* all;
    const size_t before = virtio_mmio_slots(&all);
    warnings.clear();
    auto* text = new std::vector<char>(line.begin(), line.end()); // "the text must stay"
    text->push_back(0);
    texts.emplace_back(text);
    parse_command_line(text->data(), arguments);
    const size_t after = virtio_mmio_slots(&all);
    slots.assign(all + before, all + after);
  }
  oblako::boot::arguments arguments;
  std::vector<virtio_mmio_slot> slots;
  static inline std::vector<std::unique_ptr<std::vector<char>>> texts;
};

void expect_slot(const std::string& value, uint64_t address, uint32_t size, uint32_t irq) {
  const parsed p("virtio_mmio.device=" + value);
  ASSERT_EQ(p.slots.size(), 1u) << value;
  EXPECT_EQ(p.slots[0].address, address) << value;
  EXPECT_EQ(p.slots[0].size, size) << value;
  EXPECT_EQ(p.slots[0].irq, irq) << value;
  EXPECT_TRUE(warnings.empty()) << value;
}

// Linux drivers/virtio/virtio_mmio.c: <size>[KMG]@<baseaddr>:<irq>[:<id>], numbers in C's forms.
TEST(options, virtio_mmio_slots_in_every_form) {
  expect_slot("512@0xfeb00e00:12", 0xfeb00e00, 512, 12); // QEMU
  expect_slot("4K@0xd0000000:5", 0xd0000000, 4096, 5);   // Firecracker
  expect_slot("4k@0xd0001000:6", 0xd0001000, 4096, 6);
  expect_slot("0x1000@0xD0000000:5", 0xd0000000, 4096, 5);
  expect_slot("0X200@0XFEB00000:0x10", 0xfeb00000, 512, 16);
  expect_slot("1M@0x100000000:7:3", 0x100000000, 1 << 20, 7);
  expect_slot("4096@3489660928:5", 0xd0000000, 4096, 5);
}

TEST(options, what_is_no_slot_is_named_and_ignored) {
  for (const char* value :
       {"", "4K", "4K@", "4K@0xd0000000", "4K@0xd0000000:", "@0xd0000000:5", "4Q@0xd0000000:5",
        "4K@0xd0000000:5x", "4K@0x:5", "0K@0xd0000000:5", "8G@0xd0000000:5",
        "4K@0x10000000000000000:5", "4K@0xd0000000:0x100000000"}) {
    const parsed p(std::string("virtio_mmio.device=") + value);
    EXPECT_TRUE(p.slots.empty()) << value;
    ASSERT_EQ(warnings.size(), 1u) << value;
    EXPECT_NE(warnings[0].find("SIZE@ADDRESS:IRQ"), std::string::npos);
  }
}

TEST(options, slots_are_taken_from_anywhere) {
  const parsed p("virtio_mmio.device=4K@0xd0000000:5 -- a virtio_mmio.device=4K@0xd0001000:6 b");
  EXPECT_EQ(p.slots.size(), 2u);
  ASSERT_EQ(p.arguments.count, 2u);
  EXPECT_STREQ(p.arguments.words[0], "a");
  EXPECT_STREQ(p.arguments.words[1], "b");
}

TEST(options, options_values_and_arguments) {
  const parsed p("hostname=one env.A=b=c nothing.known=1 -- --port \"two words\"");
  EXPECT_STREQ(option("hostname"), "one");
  EXPECT_EQ(option("gw"), nullptr);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("nothing.known"), std::string::npos);
  ASSERT_EQ(p.arguments.count, 2u);
  EXPECT_STREQ(p.arguments.words[0], "--port");
  EXPECT_STREQ(p.arguments.words[1], "two words");
}

std::string expanded(std::string text, uint64_t memory) {
  text.resize(expand_memory_expressions(text.data(), memory));
  return text;
}

// What the build leaves as room for the number (scripts/memory_expressions.py).
const std::string room(12, ' ');

TEST(options, parts_of_memory_in_arguments) {
  constexpr uint64_t MiB = 1 << 20;
  EXPECT_EQ(expanded("a {memory" + room + "} b", 64 * MiB), "a 67108864 b");
  EXPECT_EQ(expanded("{memory/2" + room + "}", 64 * MiB), "33554432");
  EXPECT_EQ(expanded("{memory*3/16" + room + "}", 64 * MiB), "12582912");
  EXPECT_EQ(expanded("'x {memory/256k" + room + "} 0' y", 64 * MiB), "'x 256 0' y");
  EXPECT_EQ(expanded("{memory/2" + room + "}{memory/4" + room + "}", 100), "5025");
  EXPECT_EQ(expanded("{memory" + room + "}", UINT64_MAX), "18446744073709551615");
}

TEST(options, parts_of_memory_within_bounds) {
  EXPECT_EQ(expanded("{memory/256k:32:10000" + room + "}", 1 << 20), "32");
  EXPECT_EQ(expanded("{memory/256k:32:10000" + room + "}", 1 << 24), "64");
  EXPECT_EQ(expanded("{memory/256k:32:10000" + room + "}", uint64_t{1} << 40), "10000");
  EXPECT_EQ(expanded("{memory/8:1M" + room + "}", 1 << 22), "1048576");
  EXPECT_EQ(expanded("{memory/8:1M" + room + "}", uint64_t{1} << 34), "2147483648");
}

TEST(options, other_braces_stay) {
  EXPECT_EQ(expanded("{\"memory\": 1} {mem} {", 64), "{\"memory\": 1} {mem} {");
  EXPECT_EQ(expanded("{memory/2", 64), "32"); // not closed: nothing behind it is read
}

} // namespace
