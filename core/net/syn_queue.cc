#include "core/net/syn_queue.hh"

#include "core/mem/heap.hh"

namespace oblako::net {

half_open* syn_queue::add(const flow& f, uint64_t hash, uint32_t now, backlog& at, unsigned most) {
  if (at.records >= min_of(most, limit_ - count_))
    return nullptr;
  auto* h = static_cast<half_open*>(mem::allocate_buffer_zeroed(sizeof(half_open)));
  if (!h)
    return nullptr;
  h->key = f;
  h->answered = now;
  h->place.is_record = true;
  enter_queue(at, backlog_half_open, h->place);
  h->in_bucket = buckets_[hash % bucket_count];
  buckets_[hash % bucket_count] = h;
  wheel_.arm(h->timer, now + first_patience_ms);
  ++count_;
  return h;
}

half_open* syn_queue::find(const flow& f, uint64_t hash) const {
  if (count_ == 0)
    return nullptr;
  for (auto* h = buckets_[hash % bucket_count]; h; h = h->in_bucket)
    if (h->key == f)
      return h;
  return nullptr;
}

void syn_queue::remove(half_open& h, uint64_t hash) {
  leave_queue(h.place);
  half_open** link = &buckets_[hash % bucket_count];
  while (*link != &h)
    link = &(*link)->in_bucket;
  *link = h.in_bucket;
  wheel_.disarm(h.timer);
  --count_;
  mem::release_sized(&h, sizeof h);
}

} // namespace oblako::net
