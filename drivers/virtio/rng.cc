// virtio entropy device: random bytes for the generator's seed, where the processor has none. One
// request, polled for: the generator asks once, before there is anything to interrupt.
// Spec: virtio 1.1, 5.4.
#include "arch/x64/cpu.hh"
#include "core/log/log.hh"
#include "core/random/random.hh"
#include "core/time/clock.hh"
#include "drivers/virtio/device.hh"
#include "drivers/virtio/dma.hh"

namespace oblako::virtio {

namespace {

constexpr uint32_t request_bytes = 64; // twice the generator's key
// A host that has run dry must not hold the boot up; normally it takes well under a millisecond.
constexpr uint64_t patience_ns = 100 * time::ns_per_ms;

// Waits for the device's one answer; bytes written, 0 if it did not come.
uint32_t ask(virtqueue& queue, uint8_t* buffer) {
  auto chain = queue.begin(1);
  if (!chain.ok())
    return 0;
  chain->add_writable(to_device(buffer), request_bytes);
  queue.submit(chain.take(), buffer);
  queue.notify_always();
  completion c;
  for (const uint64_t start = time::monotonic_ns(); !queue.take_completed(c); arch::pause())
    if (queue.broken() || time::monotonic_ns() - start > patience_ns)
      return 0;
  return c.written;
}

result<uint32_t> read_entropy(device_setup& device, uint8_t* buffer) {
  TRY(device.negotiate(0));
  virtqueue* queue = TRY(device.add_queue(0, 1, nullptr, nullptr));
  queue->disable_interrupts();
  device.finish();
  return ask(*queue, buffer);
}

} // namespace

} // namespace oblako::virtio

// Asks the first entropy device. The device is given up afterwards: the generator needs one seed.
extern "C" size_t oblako_device_entropy(void* to, size_t bytes) {
  using namespace oblako;
  using namespace oblako::virtio;
  transport* t = find(spec::device_type::rng, 0);
  auto* buffer = t ? static_cast<uint8_t*>(mem::allocate_zeroed(request_bytes)) : nullptr;
  if (!buffer)
    return 0;
  device_setup device(*t);
  auto got = read_entropy(device, buffer);
  if (!got.ok() || *got == 0)
    log::warning("%s: no random bytes (error %d)", t->name(), static_cast<int>(got.code()));
  const size_t n = got.ok() ? min_of<size_t>(*got, bytes) : 0;
  __builtin_memcpy(to, buffer, n);
  // A device that does not confirm its reset may still write to the buffer: then it stays.
  if (device.give_up()) {
    __builtin_memset(buffer, 0, request_bytes);
    mem::release(buffer);
  }
  return n;
}
