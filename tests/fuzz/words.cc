// The mutator: libFuzzer's own changes bytes, of which most turn the rest of the script into
// something else.
#include "tests/fuzz/words.hh"

#include <algorithm>
#include <initializer_list>
#include <random>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace fuzz {
namespace {

using bytes = std::vector<uint8_t>;
using randomness = std::minstd_rand;

// The kind's byte, `fixed` bytes of fields, and a tail whose length is one of them.
struct form {
  uint8_t fixed;
  uint8_t length_at = 0, length_width = 0; // among the fields
  uint16_t length_modulo = 0;
  uint8_t tail = 0; // where no field says it
};
constexpr form forms[] = {
    {3, 1, 2, 2048},  // raw_frame
    {4, 3, 1, 256},   // ipv4_packet
    {11, 10, 1, 32},  // segment
    {11, 10, 1, 32},  // segment_again
    {2},              // pass
    {4},              // act
    {2, 1, 1, 256},   // ipv6_packet
    {0, 0, 0, 0, 28}, // arp_packet
    {7},              // icmp_about
    {5},              // datagram
    {6},              // fragment
    {1},              // shortage
    {3, 2, 1, 41},    // open
    {2, 1, 1, 256},   // with_checksum
    {3, 2, 1, 256},   // dhcp_reply
    {6},              // fragment6
    {10},             // quote
    {4},              // use_datagrams
    {6},              // crowd
    {4},              // serve
    {3},              // fail
    {2},              // connect
};
constexpr size_t kinds = static_cast<size_t>(word_kind::count);
static_assert(std::size(forms) == kinds);

// --- making words

// What protocols have in their fields: types, flags, lengths at which something changes.
constexpr uint8_t likely_bytes[] = {0,  1,  2,  3,   4,   5,   6,   8,   10,  11,  16,  17,
                                    24, 44, 58, 128, 133, 134, 135, 136, 137, 143, 255, 40};
constexpr uint16_t likely_pairs[] = {0,    1,    8,    20,   40,   48,   64,   68,    552,  576,
                                     1000, 1279, 1280, 1281, 1400, 1460, 1500, 32768, 65535};

uint8_t some_byte(randomness& r) {
  switch (r() % 4) {
  case 0:
    return 0;
  case 1:
    return static_cast<uint8_t>(r());
  default:
    return likely_bytes[r() % std::size(likely_bytes)];
  }
}

// An error that hosts look at, with a number in it that fits into 16 bits, about one of the last
// packets, whole.
void make_plausible(bytes& quote, randomness& r) {
  constexpr uint8_t types[] = {1, 2, 2, 3, 3, 4, 11, 12, 137};
  quote[1] = static_cast<uint8_t>(r() % 4);
  quote[2] = types[r() % std::size(types)];
  quote[3] = static_cast<uint8_t>(r() % 6);
  const uint16_t mtu = likely_pairs[r() % std::size(likely_pairs)];
  quote[4] = quote[5] = 0;
  quote[6] = static_cast<uint8_t>(mtu >> 8);
  quote[7] = static_cast<uint8_t>(mtu);
  quote[8] = quote[10] = 0;
}

bytes new_word(randomness& r) {
  const size_t kind = r() % kinds;
  const form& f = forms[kind];
  bytes w = {static_cast<uint8_t>(kind)};
  for (size_t i = 0; i < f.fixed; ++i)
    w.push_back(some_byte(r));
  for (size_t i = 1; i + 1 < w.size(); ++i)
    if (r() % 4 == 0) {
      const uint16_t pair = likely_pairs[r() % std::size(likely_pairs)];
      w[i] = static_cast<uint8_t>(pair >> 8);
      w[i + 1] = static_cast<uint8_t>(pair);
    }
  if (static_cast<word_kind>(kind) == word_kind::quote && r() % 4 != 0)
    make_plausible(w, r);
  if (f.length_width != 0) { // mostly a short tail
    const size_t at = 1u + f.length_at + f.length_width - 1u;
    w[at - f.length_width + 1] = 0;
    w[at] = static_cast<uint8_t>(r() % 4 ? r() % 48 : r());
  }
  w.resize(64 + 2048);
  const size_t length = word_length(w.data(), w.size());
  for (size_t i = 1u + f.fixed; i < length; ++i)
    w[i] = some_byte(r);
  w.resize(length);
  return w;
}

bytes word(word_kind kind, std::initializer_list<uint8_t> fields) {
  bytes w = {static_cast<uint8_t>(kind)};
  w.insert(w.end(), fields);
  return w;
}
uint8_t high(unsigned value) {
  return static_cast<uint8_t>(value >> 8);
}
uint8_t low(unsigned value) {
  return static_cast<uint8_t>(value);
}

// What belongs together and would hardly meet by chance: something long is sent, a router says that
// it was too big, and more goes the same way. IPv6 for odd numbers, datagrams or a stream's data.
std::vector<bytes> too_big(randomness& r) {
  constexpr uint16_t mtus[] = {0, 1, 8, 40, 48, 56, 68, 552, 576, 1279, 1280, 1300, 1400, 1500};
  constexpr uint16_t lengths[] = {100, 1240, 1300, 1400, 1452, 5000, 60000};
  const uint16_t mtu = mtus[r() % std::size(mtus)];
  const uint16_t next = lengths[r() % std::size(lengths)];
  const auto which = static_cast<uint8_t>(r() % 4);
  const bool ipv6 = which & 1, stream = r() % 2;
  const auto send = [&](uint16_t length) {
    return stream ? word(word_kind::serve, {0, 0, high(length), low(length)})
                  : word(word_kind::use_datagrams, {which, 0, high(length), low(length)});
  };
  constexpr uint8_t all = 0, last_octet = 0xff, unchanged = 0;
  const auto type = static_cast<uint8_t>(ipv6 ? 2 : 3), code = static_cast<uint8_t>(ipv6 ? 0 : 4);
  std::vector<bytes> words = {
      send(stream ? next : 1400),
      word(word_kind::quote, {static_cast<uint8_t>(stream ? r() % 4 : 0), type, code, 0, 0,
                              high(mtu), low(mtu), all, last_octet, unchanged}),
      send(next)};
  if (stream)
    words.insert(words.begin(), word(word_kind::open, {which, low(r()), 0}));
  return words;
}

// --- scripts as lists of words

std::vector<bytes> words_of(const uint8_t* data, size_t size) {
  std::vector<bytes> words;
  while (size != 0) {
    const size_t length = word_length(data, size);
    words.emplace_back(data, data + length);
    data += length;
    size -= length;
  }
  return words;
}

size_t put(const std::vector<bytes>& words, uint8_t* to, size_t max_size) {
  size_t used = 0;
  for (const bytes& w : words) {
    if (used + w.size() > max_size)
      break;
    std::copy(w.begin(), w.end(), to + used);
    used += w.size();
  }
  return used;
}

// One byte or two, or what libFuzzer does with the word alone.
void change_word(bytes& w, randomness& r) {
  if (w.size() < 2)
    return;
  const size_t at = 1 + r() % (w.size() - 1);
  switch (r() % 4) {
  case 0:
    w[at] = some_byte(r);
    break;
  case 1:
    w[at] = static_cast<uint8_t>(w[at] + (r() % 2 ? 1 : -1));
    break;
  case 2: {
    const uint16_t pair = likely_pairs[r() % std::size(likely_pairs)];
    w[at] = static_cast<uint8_t>(pair >> 8);
    if (at + 1 < w.size())
      w[at + 1] = static_cast<uint8_t>(pair);
    break;
  }
  default: {
    const size_t size = w.size();
    const uint8_t kind = w[0];
    LLVMFuzzerMutate(w.data(), size, size);
    w[0] = kind;
  }
  }
}

void change(std::vector<bytes>& words, randomness& r) {
  const auto place = [&] { return words.begin() + static_cast<ptrdiff_t>(r() % words.size()); };
  switch (words.empty() ? 0 : r() % 8) {
  case 0:
    if (r() % 4 == 0) {
      const auto together = too_big(r);
      words.insert(words.begin() + static_cast<ptrdiff_t>(r() % (words.size() + 1)),
                   together.begin(), together.end());
      break;
    }
    [[fallthrough]];
  case 1:
    words.insert(words.begin() + static_cast<ptrdiff_t>(r() % (words.size() + 1)), new_word(r));
    break;
  case 2:
    words.erase(place());
    break;
  case 3: {
    const bytes copy = *place();
    words.insert(place(), copy);
    break;
  }
  case 4:
    std::swap(*place(), *place());
    break;
  default:
    change_word(*place(), r);
  }
}

} // namespace

size_t word_length(const uint8_t* at, size_t left) {
  const form& f = forms[at[0] % kinds];
  size_t length = 1u + f.fixed;
  size_t tail = f.tail;
  if (f.length_width != 0) {
    size_t field = 0;
    for (size_t i = 0; i < f.length_width; ++i) {
      const size_t k = 1u + f.length_at + i;
      field = field << 8 | (k < left ? at[k] : 0);
    }
    tail = field % f.length_modulo;
  }
  return std::min(length + tail, left);
}

} // namespace fuzz

using namespace fuzz;

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  randomness r(seed);
  if (r() % 8 == 0)
    return LLVMFuzzerMutate(data, size, max_size);
  auto words = words_of(data, size);
  for (unsigned n = 1 + r() % 4; n != 0; --n)
    change(words, r);
  return put(words, data, max_size);
}

// The first words of one script and the last of the other.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b,
                                            size_t b_size, uint8_t* out, size_t max_size,
                                            unsigned seed) {
  randomness r(seed);
  auto first = words_of(a, a_size), second = words_of(b, b_size);
  first.resize(r() % (first.size() + 1));
  const size_t from = r() % (second.size() + 1);
  first.insert(first.end(), second.begin() + static_cast<ptrdiff_t>(from), second.end());
  return put(first, out, max_size);
}
