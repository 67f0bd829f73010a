#include "core/net/path_mtu_table.hh"

#include "core/mem/heap.hh"

namespace oblako::net {

bool path_mtu_table::make_buckets() {
  unsigned count = 32;
  while (count < limit_ / 2)
    count *= 2;
  buckets_ = static_cast<record**>(mem::allocate_zeroed(count * sizeof *buckets_));
  bucket_count_ = buckets_ ? count : 0;
  return buckets_ != nullptr;
}

void path_mtu_table::append(record& r) {
  r.older = youngest_;
  r.younger = nullptr;
  (youngest_ ? youngest_->younger : oldest_) = &r;
  youngest_ = &r;
}

void path_mtu_table::unlink(record& r) {
  (r.older ? r.older->younger : oldest_) = r.younger;
  (r.younger ? r.younger->older : youngest_) = r.older;
}

void path_mtu_table::remove(record& r) {
  record** link = &bucket(r.hash);
  while (*link != &r)
    link = &(*link)->in_bucket;
  *link = r.in_bucket;
  unlink(r);
  --count_;
  mem::release_sized(&r, sizeof r);
}

path_mtu_table::record* path_mtu_table::look_up(const destination& to, uint64_t hash) const {
  record* r = count_ != 0 ? bucket(hash) : nullptr;
  while (r && !(r->to == to))
    r = r->in_bucket;
  return r;
}

uint16_t path_mtu_table::find(const destination& to, uint64_t hash) const {
  const record* r = look_up(to, hash);
  return r ? r->mtu : 0;
}

bool path_mtu_table::learn(const destination& to, uint64_t hash, uint16_t mtu, uint32_t now) {
  if (!buckets_ && !make_buckets())
    return false;
  record* r = look_up(to, hash);
  if (r) {
    if (mtu > r->mtu)
      return false;
    const bool smaller = mtu < r->mtu;
    r->mtu = mtu;
    r->learnt = now;
    unlink(*r);
    append(*r);
    return smaller;
  }
  if (count_ >= limit_)
    remove(*oldest_);
  r = static_cast<record*>(mem::allocate_buffer(sizeof *r));
  if (!r)
    return false;
  *r = {bucket(hash), nullptr, nullptr, hash, to, now, mtu};
  bucket(hash) = r;
  append(*r);
  ++count_;
  return true;
}

bool path_mtu_table::expire(uint32_t now) {
  bool any = false;
  for (; oldest_ && now - oldest_->learnt >= lifetime_ms; any = true)
    remove(*oldest_);
  return any;
}

} // namespace oblako::net
