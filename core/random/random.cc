// ChaCha20 (RFC 8439, 2.3) as a generator with fast key erasure: every request begins with a fresh
// key and throws the old one away, so that what was given out cannot be computed from the state
// later. Seeded at first use.
#include "core/random/random.hh"
#include "arch/x64/cpu.hh"
#include "core/log/log.hh"
#include "core/random/chacha.hh"
#include "core/sched/spinlock.hh"

namespace oblako::random {

namespace {

sched::spinlock lock{sched::lock_rank::device};
uint32_t key[8]; // guarded by lock
bool seeded;

// Mixes words into the key: the next key depends on both.
void stir(const uint32_t (&words)[8]) {
  for (int i = 0; i < 8; ++i)
    key[i] ^= words[i];
  uint32_t block[16];
  chacha_block(key, 0, block);
  __builtin_memcpy(key, block, sizeof key);
}

bool stir_hardware() {
  uint32_t words[8];
  bool complete = true;
  for (int i = 0; i < 8; i += 2) {
    uint64_t v = 0;
    complete &= arch::hardware_random(v);
    v ^= arch::read_tsc() << 1; // never worse than the time alone
    words[i] = static_cast<uint32_t>(v);
    words[i + 1] = static_cast<uint32_t>(v >> 32);
  }
  stir(words);
  return complete;
}

// Without a source in the processor: the low bits of time stamps, whose distances jitter.
void stir_timing() {
  uint32_t words[8] = {};
  for (unsigned i = 0; i < 64; ++i) {
    uint32_t& w = words[i % 8];
    w = (w << 5 | w >> 27) ^ static_cast<uint32_t>(arch::read_tsc());
  }
  stir(words);
}

// The first seed, without the lock: a device driver takes locks of its own. Two threads that come
// here at once both add to it.
void seed() {
  uint8_t bytes[64];
  size_t from_device = 0;
  bool from_cpu;
  {
    sched::spinlock_guard guard(lock);
    from_cpu = stir_hardware();
    if (!from_cpu)
      stir_timing();
  }
  if (!from_cpu)
    from_device = oblako_device_entropy(bytes, sizeof bytes);
  add_entropy(bytes, from_device);
  // release: pairs with the acquire in fill().
  __atomic_store_n(&seeded, true, __ATOMIC_RELEASE);
  if (!from_cpu && from_device < sizeof key)
    log::warning("no random numbers from the processor or a virtio-rng: keys made now may be "
                 "guessable");
}

// Half of the first block is the next key, the rest is given out; more comes from the old key,
// which nobody has afterwards. Lock held.
void generate(uint8_t* to, size_t bytes) {
  uint32_t old_key[8], block[16];
  __builtin_memcpy(old_key, key, sizeof key);
  chacha_block(old_key, 0, block);
  __builtin_memcpy(key, block, sizeof key);
  size_t n = min_of(bytes, sizeof block - sizeof key);
  __builtin_memcpy(to, block + 8, n);
  for (uint32_t counter = 1; bytes -= n; ++counter) {
    to += n;
    n = min_of(bytes, sizeof block);
    chacha_block(old_key, counter, block);
    __builtin_memcpy(to, block, n);
  }
  for (volatile uint32_t& w : old_key)
    w = 0;
}

} // namespace

void fill(void* to, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  if (!__atomic_load_n(&seeded, __ATOMIC_ACQUIRE)) // pairs with seed()
    seed();
  while (bytes) {
    const size_t n = min_of<size_t>(bytes, page_size);
    sched::spinlock_guard guard(lock);
    generate(out, n);
    out += n;
    bytes -= n;
  }
}

void add_entropy(const void* data, size_t bytes) {
  auto* from = static_cast<const uint8_t*>(data);
  sched::spinlock_guard guard(lock);
  while (bytes) {
    uint32_t words[8] = {};
    const size_t n = min_of(bytes, sizeof words);
    __builtin_memcpy(words, from, n);
    stir(words);
    from += n;
    bytes -= n;
  }
}

} // namespace oblako::random
