// Reader of the packed read-only root. Whatever bytes it is given, it answers with values inside
// the blob or with error::io.
#pragma once

#include "core/base/result.hh"
#include "core/base/text.hh"
#include "core/fs/packed_format.hh"
#include <stddef.h>

namespace oblako::fs {

class packed_root {
public:
  // Checks the header. The blob must outlive the object. Errors: io.
  static result<packed_root> open(const uint8_t* blob, size_t size);

  struct entry {
    uint32_t number;
    text name;
    uint32_t mode;
    uint64_t size;
    uint64_t stored_size;
    uint64_t modified;                 // seconds since 1970
    const uint8_t* data;               // of files and links
    uint32_t first_child, child_count; // of directories
    bool compressed() const { return stored_size != size; }
  };
  // Errors: io (not a node, or fields that point outside the blob).
  result<entry> at(uint32_t number) const;
  // Errors: noent, notdir, io.
  result<entry> lookup(const entry& directory, text name) const;
  uint32_t node_count() const { return node_count_; }

private:
  packed_root() = default;
  const uint8_t* blob_ = nullptr;
  size_t size_ = 0;
  uint32_t node_count_ = 0, nodes_offset_ = 0, names_offset_ = 0, names_size_ = 0;
};

} // namespace oblako::fs

// Inflates a zlib stream into the pages that next_page() hands out one after the other, each
// page_size bytes; null ends it as a failure. Returns false if the stream is damaged, is not
// exactly `to_size` bytes long, or memory ran out. In the image only where the packed root has
// compressed files (the blob's object names it).
extern "C" [[gnu::weak]] bool oblako_inflate(const uint8_t* from, size_t from_size, size_t to_size,
                                             uint8_t* (*next_page)(void*), void* argument);
