// The 2 MB blocks of physical memory in which the image lies: they are mapped page by page, so that
// what is read-only in the image is read-only in the direct map too. Private to arch/x64.
#pragma once

#include <stdint.h>

namespace oblako::arch {

#ifdef OBLAKO_HOST_TEST
inline uint64_t host_image_blocks_end = 0;
inline uint64_t image_blocks_end() {
  return host_image_blocks_end;
}
inline void (*map_beside_image)(uint64_t start, uint64_t end) = nullptr;
#else
// Where the last of these blocks ends; the first one begins at 0.
uint64_t image_blocks_end();
// Makes memory of these blocks that is not the image's reachable in the direct map: what the
// monitor left below the image, free memory behind it. The image's own pages and what lies behind
// the last block are left out. Context: boot, or the frame allocator's lock held.
void map_beside_image(uint64_t start, uint64_t end);
#endif

} // namespace oblako::arch
