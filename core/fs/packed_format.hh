// The packed read-only root: what scripts/pack_root.py writes and core/fs/packed_root.cc reads.
// All numbers little-endian, all offsets from the blob's first byte, which is page-aligned
// if the blob is larger than a page.
//
//   header | nodes | names | data
//
// Nodes are in breadth-first order: node 0 is the root directory, a directory's children are
// consecutive, sorted by name in byte order, and come after the directory itself. That order makes
// lookups binary searches and cycles impossible, whatever the blob contains.
// A file's data is stored as it is (page-aligned if larger than a page), or, where stored_size is
// not size, as one zlib stream. The reader trusts nothing: every field is checked when it is used.
#pragma once

#include <stdint.h>

namespace oblako::fs::packed {

constexpr char magic[8] = {'O', 'B', 'L', 'K', 'R', 'O', 'O', 'T'};
constexpr uint32_t version = 2;

// In the mode of a file that is not compressed: its text holds parts of memory (`{memory/2}`, with
// room for the number) that the reader of the root expands (core/boot/memory_expressions.hh). A
// file on Linux may have this bit, S_ISVTX, without a meaning.
constexpr uint16_t has_expressions = 01000;

struct header {
  char magic[8];
  uint32_t version;
  uint32_t node_count;
  uint64_t total_size; // of the whole blob
  uint32_t nodes_offset;
  uint32_t names_offset;
  uint32_t names_size;
  uint32_t reserved;
};
static_assert(sizeof(header) == 40);

struct node {
  uint32_t name_offset; // into the names; not zero-terminated
  uint16_t name_size;
  uint16_t mode;        // S_IFDIR, S_IFREG or S_IFLNK with permission bits, has_expressions
  uint64_t data_offset; // directory: number of its first child
  uint64_t size;        // file: bytes; link: bytes of the target; directory: number of children
  uint64_t stored_size; // bytes in the blob; != size only for compressed files
  uint64_t modified;    // when, in seconds since 1970
};
static_assert(sizeof(node) == 40);

} // namespace oblako::fs::packed
