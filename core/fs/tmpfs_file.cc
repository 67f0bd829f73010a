// Contents of files in memory: sparse pages over the bytes of the image.
#include "core/fs/node_files.hh"
#include "core/fs/tmpfs.hh"
#include "core/mem/frames.hh"
#include "core/sched/thread.hh"

namespace oblako::fs {

namespace {
constexpr uint64_t size_limit = ~uint64_t{0} >> 1; // off_t
constexpr uint64_t page_of(uint64_t offset) {
  return offset >> page_shift;
}
constexpr size_t within(uint64_t offset) {
  return offset % page_size;
}
} // namespace

using guard = sched::lock_guard<sched::mutex>;

tmpfs_file::tmpfs_file(uint32_t mode, uint64_t ino, image_bytes image)
    : tmpfs_node(mode, ino), size_(image.size), image_(image) {}

result<void> tmpfs_file::status(struct stat& out) {
  TRY(tmpfs_node::status(out));
  guard g(lock_);
  out.st_size = static_cast<off_t>(size_);
  out.st_blocks =
      static_cast<blkcnt_t>(pages_.pages() * (page_size / 512) + (image_.stored_size + 511) / 512);
  return {};
}

result<mem::ref<posix::file>> tmpfs_file::open(uint32_t flags) {
  {
    guard g(lock_);
    if (image_.stored_size != image_.size)
      TRY(inflate());
  }
  return open_regular(*this, flags);
}

// Replaces the compressed bytes of the image by pages.
result<void> tmpfs_file::inflate() {
  if (!oblako_inflate)
    return error::io;
  struct output {
    tmpfs_file* file;
    uint64_t index;
    bool out_of_memory;
  } o{this, 0, false};
  const auto next_page = [](void* argument) -> uint8_t* {
    auto& o = *static_cast<output*>(argument);
    auto page = page_tree::new_page(true);
    if (page.ok()) {
      sched::spinlock_guard g(o.file->pages_lock_);
      if (o.file->pages_.insert(o.index++, *page).ok())
        return *page;
    }
    if (page.ok())
      page_tree::free_page(*page);
    o.out_of_memory = true;
    return nullptr;
  };
  if (!oblako_inflate(image_.data, image_.stored_size, image_.size, next_page, &o)) {
    sched::spinlock_guard g(pages_lock_);
    pages_.drop_from(0);
    return o.out_of_memory ? error::nomem : error::io;
  }
  image_ = {};
  return {};
}

// How many of `bytes` bytes at `offset` the image has.
size_t tmpfs_file::image_part(uint64_t offset, size_t bytes) const {
  if (offset >= image_.size)
    return 0;
  return static_cast<size_t>(min_of<uint64_t>(bytes, image_.size - offset));
}

result<size_t> tmpfs_file::read_at(mem::io_buffers& to, uint64_t offset) {
  guard g(lock_);
  if (offset >= size_)
    return size_t{0};
  uint64_t left = min_of<uint64_t>(to.remaining(), size_ - offset);
  size_t done = 0;
  while (left) {
    const size_t in_page = within(offset);
    size_t n = static_cast<size_t>(min_of<uint64_t>(page_size - in_page, left));
    const uint8_t* page = pages_.find(page_of(offset));
    const size_t from_image = page ? 0 : image_part(offset, n);
    if (from_image)
      n = from_image;
    auto moved = page         ? to.put(page + in_page, n)
                 : from_image ? to.put(image_.data + offset, n)
                              : to.put_zeros(n);
    if (!moved.ok())
      return done ? result<size_t>(done) : moved.code();
    done += *moved;
    if (*moved != n)
      break;
    offset += n;
    left -= n;
    if (left && done % 1_MiB < page_size && !sched::killable_point().ok())
      break;
  }
  return done;
}

result<void> tmpfs_file::read_page(uint64_t offset, void* to) {
  auto* out = static_cast<uint8_t*>(to);
  sched::spinlock_guard g(pages_lock_);
  size_t valid = 0;
  const uint64_t size = this->size();
  if (const uint8_t* page = pages_.find(page_of(offset))) {
    valid = offset < size ? static_cast<size_t>(min_of<uint64_t>(page_size, size - offset)) : 0;
    __builtin_memcpy(out, page, valid);
  } else {
    valid = image_part(offset, page_size);
    __builtin_memcpy(out, image_.data + offset, valid);
  }
  __builtin_memset(out + valid, 0, page_size - valid);
  return {};
}

// The page to write into; what the image has of it is copied up first, unless it is all about to
// be overwritten.
result<uint8_t*> tmpfs_file::writable_page(uint64_t index, bool will_be_overwritten) {
  if (uint8_t* page = pages_.find(index)) [[likely]]
    return page;
  const uint64_t offset = index << page_shift;
  const size_t from_image = will_be_overwritten ? 0 : image_part(offset, page_size);
  uint8_t* page = TRY(page_tree::new_page(!will_be_overwritten && !from_image));
  if (from_image) {
    __builtin_memcpy(page, image_.data + offset, from_image);
    __builtin_memset(page + from_image, 0, page_size - from_image);
  }
  sched::spinlock_guard g(pages_lock_);
  auto inserted = pages_.insert(index, page);
  if (!inserted.ok()) {
    page_tree::free_page(page);
    return error::nospc;
  }
  return page;
}

result<size_t> tmpfs_file::write_at(mem::io_buffers& from, uint64_t offset, bool append,
                                    uint64_t& end) {
  guard g(lock_);
  if (append)
    offset = size_;
  end = offset;
  if (from.remaining() == 0)
    return size_t{0};
  if (offset >= size_limit)
    return error::fbig;
  uint64_t left = min_of<uint64_t>(from.remaining(), size_limit - offset);
  size_t done = 0;
  error problem = error::none;
  while (left) {
    const size_t in_page = within(offset);
    const size_t n = static_cast<size_t>(min_of<uint64_t>(page_size - in_page, left));
    const bool fresh = !pages_.find(page_of(offset));
    auto page = writable_page(page_of(offset), n == page_size);
    if (!page.ok()) {
      problem = page.code();
      break;
    }
    auto moved = from.get(*page + in_page, n);
    const size_t got = moved.ok() ? *moved : 0;
    // A page that was to be overwritten entirely holds somebody's old data where it was not.
    if (fresh && n == page_size && got < n) {
      const size_t kept = image_part(offset, page_size);
      if (kept > got)
        __builtin_memcpy(*page + got, image_.data + offset + got, kept - got);
      const size_t filled = max_of(kept, got);
      __builtin_memset(*page + filled, 0, page_size - filled);
    }
    done += got;
    offset += got;
    left -= got;
    if (got != n) {
      problem = moved.ok() ? error::fault : moved.code();
      break;
    }
    if (left && done % 1_MiB < page_size && !sched::killable_point().ok())
      break;
  }
  if (offset > size_)
    set_size(offset);
  end = offset;
  if (!done)
    return problem;
  note_modified();
  return done;
}

// Zeros [offset, end) without allocating where nothing is stored. Costs what is stored there, not
// what the range measures.
result<void> tmpfs_file::zero_range(uint64_t offset, uint64_t end) {
  while (offset < end) {
    const uint64_t index = page_of(offset);
    const size_t n =
        static_cast<size_t>(min_of<uint64_t>(page_size - within(offset), end - offset));
    if (image_part(index << page_shift, page_size)) {
      __builtin_memset(TRY(writable_page(index, false)) + within(offset), 0, n);
    } else if (const uint64_t present = pages_.first_from(index); present != index) {
      if (present > page_of(end - 1))
        break;
      offset = present << page_shift;
      continue;
    } else if (n == page_size) {
      sched::spinlock_guard g(pages_lock_);
      pages_.drop(index);
    } else {
      __builtin_memset(pages_.find(index) + within(offset), 0, n);
    }
    offset += n;
    TRY(sched::killable_point());
  }
  return {};
}

// Some at a time: page faults wait for the spinlock, with interrupts off.
void tmpfs_file::drop_pages_behind(uint64_t size) {
  for (bool all = false; !all; sched::yield_if_needed()) {
    sched::spinlock_guard g(pages_lock_);
    all = pages_.drop_from(page_of(size + page_size - 1), page_tree::batch);
  }
}

result<void> tmpfs_file::truncate(uint64_t size) {
  guard g(lock_);
  if (size > size_limit)
    return error::fbig;
  if (image_.stored_size != image_.size) {
    if (size == 0)
      image_ = {};
    else
      TRY(inflate());
  }
  page_tree dropped; // emptied after the spinlock
  if (size < size_) {
    // What lies behind the end in its page must be zero if the file grows again.
    if (within(size) && pages_.find(page_of(size)))
      __builtin_memset(pages_.find(page_of(size)) + within(size), 0, page_size - within(size));
    {
      sched::spinlock_guard g2(pages_lock_);
      image_.size = image_.stored_size = min_of(image_.size, size);
      set_size(size);
      if (size == 0)
        pages_.swap(dropped);
    }
    drop_pages_behind(size);
  }
  set_size(size);
  note_modified();
  return {};
}

result<void> tmpfs_file::allocate_range(int mode, uint64_t offset, uint64_t bytes) {
  constexpr int keep_size = 1, punch_hole = 2, zero = 0x10; // FALLOC_FL_*
  if (mode & ~(keep_size | punch_hole | zero))
    return error::opnotsupp;
  if (bytes == 0 || offset > size_limit || bytes > size_limit)
    return error::inval;
  if (bytes > size_limit - offset)
    return error::fbig;
  if ((mode & punch_hole) && !(mode & keep_size))
    return error::opnotsupp;
  guard g(lock_);
  const uint64_t end = offset + bytes;
  if (mode & (punch_hole | zero)) {
    TRY(zero_range(offset, (mode & punch_hole) ? min_of(end, align_up(size_, page_size)) : end));
  } else {
    if (bytes > mem::frame_usage().free_bytes)
      return error::nospc;
    // As on Linux any signal ends it; what was allocated so far stays, and reads as zeros.
    for (uint64_t index = page_of(offset); index <= page_of(end - 1); ++index) {
      TRY(writable_page(index, false));
      if (!sched::interruption_point().ok())
        return error::intr;
    }
  }
  if (!(mode & keep_size) && end > size_)
    set_size(end);
  note_modified();
  return {};
}

} // namespace oblako::fs
