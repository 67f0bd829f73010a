// The kernel command line: options, virtio-mmio slots, the application's arguments.
// sources: core/boot/options.cc core/boot/host_name.cc core/boot/memory_expressions.cc
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

// What the clock and the network answer.
extern "C" const char* oblako_check_clock(const char* value) {
  return *value == 'n' ? "is not a number of seconds since 1970" : nullptr;
}
extern "C" const char* oblako_check_capture(const char* value) {
  return *value == 'x' ? "is not a port of the gateway's" : nullptr;
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

// A line for each option that is wrong, and the option is left out; nothing for one that is right.
TEST(options, what_is_wrong_is_one_line_and_left_out) {
  const struct {
    const char *option, *name, *line; // line: nullptr if all is right
  } cases[] = {
      {"unknown=1", "unknown", "unknown=1 is unknown: there are clock hostname"},
      {"unknown", "unknown", "unknown is unknown: there are clock hostname"},
      {"ip6x=1", "ip6x", "is unknown"},
      {"i=1", "i", "is unknown"},
      {"'ip gw'=1", "ip gw", "is unknown"},
      {"enN.ip=1", "enN.ip", "is unknown"},
      {"arguments=1", "arguments", "is unknown"},
      {"=1", "", "is unknown"},
      {"en1.clock=1", "en1.clock", "en1.clock=1 is unknown"},
      {"en1.=1", "en1.", "is unknown"},
      {"en1=1", "en1", "is unknown"},
      {"en2.ip=10.0.0.1/8", "en2.ip", nullptr},
      {"en2.ip=10.0.0.2/8", nullptr, "en2.ip=10.0.0.2/8 comes again"},
      {"env.=x", "env.", "env.=x is not env.NAME=VALUE"},
      {"env.B", "env.B", "env.B is not env.NAME=VALUE"},
      {"env.C=", "env.C", nullptr},
      {"env.C=2", nullptr, "env.C=2 comes again"},
      {"boot.trace=1", "boot.trace", "boot.trace=1 takes no value"},
      {"boot.trace", "boot.trace", nullptr},
      {"boot.trace", nullptr, "boot.trace comes again"},
      {"mem.wx", "mem.wx", "mem.wx is not mem.wx=allow"},
      {"mem.wx=deny", "mem.wx", "mem.wx=deny is not mem.wx=allow"},
      {"mem.wx=allow", "mem.wx", nullptr},
      {"hostname=a_b", nullptr, "hostname=a_b is not a name of letters"},
      {"clock=now", "clock", "clock=now is not a number of seconds"},
      {"net.capture=x", "net.capture", "net.capture=x is not a port"},
  };
  for (const auto& c : cases) {
    const parsed p(c.option);
    EXPECT_EQ(warnings.size(), c.line ? 1u : 0u) << c.option;
    if (c.line && !warnings.empty()) {
      EXPECT_NE(warnings[0].find(c.line), std::string::npos) << warnings[0];
      EXPECT_NE(warnings[0].find("; ignored"), std::string::npos) << warnings[0];
    }
    if (c.name) {
      EXPECT_EQ(option(c.name) != nullptr, c.line == nullptr) << c.option;
    }
  }
}

TEST(options, the_first_of_two_counts) {
  const parsed p("en3.gw=10.0.0.1 en3.gw=10.0.0.2");
  EXPECT_STREQ(option("en3.gw"), "10.0.0.1");
}

TEST(options, for_interfaces_that_do_not_exist) {
  EXPECT_EQ(interface_option_beyond(8).name, nullptr);
  const parsed p("en7.ip6=fd00::1/64");
  EXPECT_EQ(interface_option_beyond(8).name, nullptr);
  EXPECT_STREQ(interface_option_beyond(7).name, "en7.ip6");
  EXPECT_STREQ(interface_option_beyond(7).value, "fd00::1/64");
}

TEST(options, more_than_there_is_room_for) {
  const virtio_mmio_slot* all;
  for (size_t n = virtio_mmio_slots(&all); n < max_virtio_mmio_slots; ++n)
    EXPECT_EQ(parsed("virtio_mmio.device=4K@0xd0000000:5").slots.size(), 1u);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(parsed("virtio_mmio.device=4K@0xd0000000:5").slots.size(), 0u);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("is one too many; ignored"), std::string::npos);
  unsigned n = 0;
  do {
    parsed("env.N" + std::to_string(++n) + "=1");
  } while (warnings.empty() && n < 1000);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("is one too many; ignored"), std::string::npos);
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
