#include "core/net/time_wait.hh"

#include "core/mem/heap.hh"

namespace oblako::net {

bool time_wait_table::make_buckets() {
  unsigned count = 64;
  while (count < limit_ / 2)
    count *= 2;
  buckets_ = static_cast<time_wait_record**>(mem::allocate_zeroed(count * sizeof *buckets_));
  bucket_count_ = buckets_ ? count : 0;
  return buckets_ != nullptr;
}

void time_wait_table::append(time_wait_record& r) {
  r.older = youngest_;
  r.younger = nullptr;
  (youngest_ ? youngest_->younger : oldest_) = &r;
  youngest_ = &r;
}

void time_wait_table::unlink(time_wait_record& r) {
  (r.older ? r.older->younger : oldest_) = r.younger;
  (r.younger ? r.younger->older : youngest_) = r.older;
}

time_wait_record* time_wait_table::add_new(const flow& f, uint64_t hash, uint32_t now) {
  if (!buckets_ && !make_buckets())
    return nullptr;
  auto* r = static_cast<time_wait_record*>(mem::allocate_buffer(sizeof(time_wait_record)));
  if (!r)
    return nullptr;
  r->key = f;
  r->ends = now + duration_;
  r->in_bucket = bucket(hash);
  bucket(hash) = r;
  append(*r);
  ++count_;
  return r;
}

time_wait_record* time_wait_table::find(const flow& f, uint64_t hash) const {
  if (count_ == 0)
    return nullptr;
  for (auto* r = bucket(hash); r; r = r->in_bucket)
    if (r->key == f)
      return r;
  return nullptr;
}

void time_wait_table::remove(time_wait_record& r, uint64_t hash) {
  time_wait_record** link = &bucket(hash);
  while (*link != &r)
    link = &(*link)->in_bucket;
  *link = r.in_bucket;
  unlink(r);
  --count_;
  mem::release_sized(&r, sizeof r);
}

void time_wait_table::restart(time_wait_record& r, uint32_t now) {
  unlink(r);
  append(r);
  r.ends = now + duration_;
}

} // namespace oblako::net
