// The directory of 2 MB blocks (three levels, 1 TB) and the bitmap work inside one block.
#include "core/mem/frame_blocks.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"

namespace oblako::mem {

namespace {

// Sized so that the first use of a small machine fits in one page: 1 kB of branch, 2.5 kB of leaf.
constexpr unsigned leaf_blocks = 16;    // 32 MB
constexpr unsigned branch_leaves = 128; // 4 GB
constexpr unsigned root_branches = 256; // 1 TB

struct leaf {
  block blocks[leaf_blocks];
};
struct branch {
  leaf* leaves[branch_leaves];
};
static_assert(sizeof(leaf) + sizeof(branch) <= page_size);

branch* root[root_branches];

uint8_t* metadata_cursor;
size_t metadata_left;

constexpr uint64_t block_number(phys_addr a) {
  return raw(a) >> block_shift;
}
constexpr uint64_t leaf_number(uint64_t block) {
  return block / leaf_blocks;
}
constexpr uint64_t branch_number(uint64_t block) {
  return block / (leaf_blocks * branch_leaves);
}

// Bits at which an aligned run of 2^order pages can start.
constexpr uint64_t aligned_starts[] = {~uint64_t{0},       0x5555555555555555, 0x1111111111111111,
                                       0x0101010101010101, 0x0001000100010001, 0x0000000100000001,
                                       0x0000000000000001};

// The bits of word `word` that belong to pages [first, end).
uint64_t word_mask(unsigned word, unsigned first, unsigned end) {
  const unsigned from = max_of(first, word * 64) - word * 64;
  const unsigned to = min_of(end, word * 64 + 64) - word * 64;
  const uint64_t below_to = to == 64 ? ~uint64_t{0} : (uint64_t{1} << to) - 1;
  return below_to & (~uint64_t{0} << from);
}

} // namespace

void* metadata(size_t bytes, void* (*more)(void*), void* context) {
  if (metadata_left < bytes) {
    void* page = more(context);
    if (!page)
      return nullptr;
    metadata_cursor = static_cast<uint8_t*>(page);
    metadata_left = page_size;
  }
  void* taken = metadata_cursor;
  metadata_cursor += bytes;
  metadata_left -= bytes;
  return taken;
}

block& block_of(phys_addr address) {
  const uint64_t n = block_number(address);
  return root[branch_number(n)]->leaves[leaf_number(n) % branch_leaves]->blocks[n % leaf_blocks];
}

block* find_block(phys_addr address) {
  const uint64_t n = block_number(address);
  if (branch_number(n) >= root_branches || !root[branch_number(n)])
    return nullptr;
  leaf* l = root[branch_number(n)]->leaves[leaf_number(n) % branch_leaves];
  if (!l)
    return nullptr;
  block& b = l->blocks[n % leaf_blocks];
  return b.made ? &b : nullptr;
}

block* make_block(phys_addr address, void* (*more)(void*), void* context) {
  const uint64_t n = block_number(address);
  if (branch_number(n) >= root_branches)
    return nullptr;
  branch*& br = root[branch_number(n)];
  if (!br && !(br = static_cast<branch*>(metadata(sizeof(branch), more, context))))
    return nullptr;
  leaf*& l = br->leaves[leaf_number(n) % branch_leaves];
  if (!l && !(l = static_cast<leaf*>(metadata(sizeof(leaf), more, context))))
    return nullptr;
  block& b = l->blocks[n % leaf_blocks];
  b.base = phys_addr{n << block_shift};
  b.made = true;
  return &b;
}

void mark_free(block& b, unsigned first, unsigned count) {
  const unsigned end = first + count;
  for (unsigned word = first / 64; word * 64 < end; ++word) {
    const uint64_t mask = word_mask(word, first, end);
    OBLAKO_ASSERT((b.free[word] & mask) == 0); // freed twice
    b.free[word] |= mask;
    b.words_with_free |= 1u << word;
  }
  b.free_count += count;
}

void mark_used(block& b, unsigned first, unsigned count) {
  const unsigned end = first + count;
  for (unsigned word = first / 64; word * 64 < end; ++word) {
    b.free[word] &= ~word_mask(word, first, end);
    if (!b.free[word])
      b.words_with_free &= ~(1u << word);
  }
  b.free_count -= count;
}

int find_run(const block& b, unsigned order) {
  if (b.free_count < (1u << order))
    return -1;
  if (order > 6) {
    const unsigned words = 1u << (order - 6);
    for (unsigned word = 0; word < pages_per_block / 64; word += words) {
      uint64_t all = ~uint64_t{0};
      for (unsigned i = 0; i < words; ++i)
        all &= b.free[word + i];
      if (all == ~uint64_t{0})
        return static_cast<int>(word * 64);
    }
    return -1;
  }
  for (unsigned left = b.words_with_free; left; left &= left - 1) {
    const unsigned word = static_cast<unsigned>(__builtin_ctz(left));
    uint64_t runs = b.free[word];
    for (unsigned i = 0; i < order; ++i)
      runs &= runs >> (1u << i); // runs of 2^(i+1) that start here
    runs &= aligned_starts[order];
    if (runs)
      return static_cast<int>(word * 64 + static_cast<unsigned>(__builtin_ctzll(runs)));
  }
  return -1;
}

page_tag& page_tag_of(phys_addr page) {
  const unsigned index = (raw(page) >> page_shift) % pages_per_block;
  return block_of(page).tags[index / tag_group::pages]->tags[index % tag_group::pages];
}

} // namespace oblako::mem
