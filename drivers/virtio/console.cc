// virtio console, port 0: a second place for console output, and input. The serial port stays the
// first; nothing here is needed for a crash report to get out.
// Spec: virtio 1.1, 5.3.
#include "core/log/console.hh"
#include "arch/x64/cpu.hh"
#include "core/log/console_input.hh"
#include "core/log/log.hh"
#include "core/sched/spinlock.hh"
#include "drivers/virtio/device.hh"
#include "drivers/virtio/dma.hh"

namespace oblako::virtio {

namespace {

constexpr uint16_t receive_queue = 0, transmit_queue = 1;
constexpr size_t piece_bytes = 512, piece_count = 8; // output in flight; one page with the input
constexpr uint32_t input_bytes = 64;
constexpr uint64_t patience_ticks = 100'000'000; // some 30 ms of TSC, then output is dropped

class console {
public:
  explicit console(transport& t) : setup_(t) {}

  // Errors: as device_setup's.
  result<void> start() {
    TRY(setup_.negotiate(0));
    receive_ = TRY(setup_.add_queue(receive_queue, 4, on_input, this));
    transmit_ = TRY(setup_.add_queue(transmit_queue, piece_count, nullptr, nullptr));
    for (auto& p : pieces_)
      free_[free_count_++] = p;
    transmit_->disable_interrupts();
    post_input();
    receive_->enable_interrupts();
    setup_.finish();
    receive_->notify_always();
    return {};
  }
  void give_up() { setup_.give_up(); }

  // Context: any, under the console's lock, so never twice at once.
  void write(const char* text, size_t bytes) {
    while (bytes) {
      char* piece = obtain();
      if (!piece)
        return;
      const size_t n = min_of(bytes, piece_bytes);
      __builtin_memcpy(piece, text, n);
      auto chain = transmit_->begin(1);
      if (!chain.ok())
        return;
      chain->add_readable(to_device(piece), static_cast<uint32_t>(n));
      transmit_->submit(chain.take(), piece);
      transmit_->notify();
      text += n;
      bytes -= n;
    }
  }

  void resume_input() { pump(); }

private:
  // A piece the device is done with; nullptr if it does not get on.
  char* obtain() {
    completion c;
    for (const uint64_t start = arch::read_tsc();; arch::pause()) {
      while (transmit_->take_completed(c))
        free_[free_count_++] = static_cast<char*>(c.cookie);
      if (free_count_)
        return free_[--free_count_];
      if (transmit_->broken() || arch::read_tsc() - start > patience_ticks)
        return nullptr;
    }
  }

  void post_input() {
    auto chain = receive_->begin(1);
    if (!chain.ok())
      return;
    chain->add_writable(to_device(input_), input_bytes);
    receive_->submit(chain.take(), input_);
  }

  static void on_input(void* context) { static_cast<console*>(context)->pump(); }

  // Called by the interrupt and by the reader that made room. One of them works; whoever comes
  // meanwhile makes it look again.
  void pump() {
    if (__atomic_fetch_add(&asked_, 1, __ATOMIC_SEQ_CST) != 0)
      return;
    uint32_t seen = 1;
    do {
      take_input();
      seen = __atomic_sub_fetch(&asked_, seen, __ATOMIC_SEQ_CST);
    } while (seen != 0);
  }

  // Hands in what has come. What finds no room stays in the buffer, which the device gets back when
  // it is empty.
  void take_input() {
    completion c;
    do {
      while (received_ || receive_->take_completed(c)) {
        received_ = received_ ? received_ : c.written;
        for (; next_ < received_; ++next_) {
          if (!log::console_has_room(source))
            return;
          log::console_typed(input_[next_]);
        }
        next_ = received_ = 0;
        post_input();
        receive_->notify();
      }
    } while (!receive_->enable_interrupts());
  }

  static const log::console_source source;

  device_setup setup_;
  virtqueue* receive_ = nullptr;
  virtqueue* transmit_ = nullptr;
  char* free_[piece_count];
  size_t free_count_ = 0;
  char input_[input_bytes];
  uint32_t received_ = 0, next_ = 0; // of input_: how many came, the first not handed in yet
  uint32_t asked_ = 0;               // calls of pump() that have not been served
  char pieces_[piece_count][piece_bytes];
};

// The one the log writes to; the first device found.
constinit console* active = nullptr;

void write(const char* text, size_t bytes) {
  active->write(text, bytes);
}

constexpr log::console_source console::source{[] {}, [] { active->resume_input(); }};

} // namespace

} // namespace oblako::virtio

extern "C" void oblako_start_virtio_console() {
  using namespace oblako;
  using namespace oblako::virtio;
  transport* t = find(spec::device_type::console, 0);
  if (!t)
    return;
  auto made = mem::make<console>(*t);
  auto started = made.ok() ? (*made)->start() : made.code();
  if (!started.ok()) {
    log::error("%s: console cannot be started (error %d)", t->name(),
               static_cast<int>(started.code()));
    if (!made.ok())
      return;
    (*made)->give_up();
    made->release(); // its interrupt may be connected
    return;
  }
  active = made->release();
  log::set_second_console(write);
}
