// Local APIC in x2APIC or xAPIC mode, and its timer in TSC-deadline or one-shot mode.
// Spec: Intel SDM vol. 3, 10.4 (registers), 10.5.4 (timer), 10.12 (x2APIC).
#include "arch/x64/apic.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "arch/x64/interrupts.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/multiply_divide.hh"
#include "arch/x64/percpu.hh"
#include "arch/x64/traps.hh"
#include "core/log/log.hh"
#include "core/mem/kernel_map.hh"
#include "core/time/clock.hh"

// arch/x64/interrupt_entry.S
extern "C" const char interrupt_idt[], interrupt_idt_end[];

namespace oblako::arch {

namespace {

// Register offsets in the xAPIC page; the x2APIC MSR is 0x800 + offset / 16.
enum class apic_register : uint32_t {
  id = 0x20,
  task_priority = 0x80,
  end_of_interrupt = 0xb0,
  spurious = 0xf0,
  lvt_timer = 0x320,
  lvt_performance = 0x340,
  lvt_lint0 = 0x350,
  lvt_lint1 = 0x360,
  lvt_error = 0x370,
  timer_initial_count = 0x380,
  timer_current_count = 0x390,
  timer_divide = 0x3e0,
};

constexpr uint64_t apic_base_x2apic = 1u << 10;
constexpr uint64_t apic_base_enable = 1u << 11;
constexpr uint32_t msr_x2apic = 0x800;

constexpr uint32_t spurious_apic_enable = 1u << 8;
constexpr uint32_t lvt_masked = 1u << 16;
constexpr uint32_t lvt_delivery_nmi = 4u << 8;
constexpr uint32_t lvt_timer_one_shot = 0u << 17;
constexpr uint32_t lvt_timer_tsc_deadline = 2u << 17;
constexpr uint32_t divide_by_one = 0xb;

struct apic_state {
  bool started;
  bool x2apic;
  bool tsc_deadline;
  volatile uint32_t* registers; // xAPIC mode only

  // Two points of the TSC against the monotonic clock give the deadline mode its rate.
  uint64_t first_tsc, first_ns;

  // Counter mode. While the frequency is an estimate, every arm() compares what the counter
  // lost since the last one with the clock. An estimate that is too low makes the timer early,
  // which costs an interrupt; too high would make it late.
  uint64_t timer_hz;
  bool timer_hz_exact;
  uint32_t armed_count;
  uint64_t armed_ns;
};

// One CPU runs so far. The timer fields belong into a per-CPU block with the second one; all other
// fields are the same on every CPU.
constinit apic_state apic{};

uint32_t read(apic_register r) {
  if (apic.x2apic)
    return static_cast<uint32_t>(read_msr(msr_x2apic + (static_cast<uint32_t>(r) >> 4)));
  return apic.registers[static_cast<uint32_t>(r) / 4];
}

void write(apic_register r, uint32_t value) {
  if (apic.x2apic)
    write_msr(msr_x2apic + (static_cast<uint32_t>(r) >> 4), value);
  else
    apic.registers[static_cast<uint32_t>(r) / 4] = value;
}

// The timer's input clock. KVM and TCG both run it at 1 GHz; CPUID says where neither is below us.
void find_timer_frequency() {
  if (features.hypervisor) {
    const cpuid_result top = cpuid(0x40000000);
    if (top.eax >= 0x40000010) {
      const uint32_t bus_khz = cpuid(0x40000010).ebx;
      if (bus_khz) {
        apic.timer_hz = uint64_t{bus_khz} * 1000;
        apic.timer_hz_exact = true;
        return;
      }
    }
    // The first four letters of the signature: "KVMK", "TCGT".
    constexpr uint32_t kvm = 0x4b4d564b;
    constexpr uint32_t tcg = 0x54474354;
    if (top.ebx == kvm || top.ebx == tcg) {
      apic.timer_hz = 1'000'000'000;
      apic.timer_hz_exact = true;
      return;
    }
  }
  if (cpuid(0).eax >= 0x15) {
    const uint32_t crystal_hz = cpuid(0x15).ecx;
    if (crystal_hz) {
      apic.timer_hz = crystal_hz;
      apic.timer_hz_exact = true;
      return;
    }
  }
  apic.timer_hz = 10'000'000; // below any real one, until two reads say better
  apic.timer_hz_exact = false;
}

// Counts per second from what the running counter lost since it was armed.
void refine_timer_frequency(uint64_t now_ns) {
  constexpr uint64_t long_enough_ns = time::ns_per_ms;
  const uint32_t left = read(apic_register::timer_current_count);
  const uint64_t elapsed = now_ns - apic.armed_ns;
  if (apic.armed_count == 0 || left == 0 || elapsed < long_enough_ns)
    return;
  const uint64_t counted = apic.armed_count - left;
  // The product stays below 2^62: both factors fit 32 bits.
  apic.timer_hz = counted * time::ns_per_s / elapsed;
}

void arm_tsc_deadline(uint64_t delta_ns) {
  const uint64_t tsc = read_tsc();
  const uint64_t ns = time::monotonic_ns() - apic.first_ns;
  // Before 100 us have gone by the quotient is too coarse; 1 GHz is below any CPU, so early.
  constexpr unsigned shift = 20;
  uint64_t rate = uint64_t{1} << shift; // ticks per ns, fixed point
  if (ns > 100'000)
    rate = multiply_divide(tsc - apic.first_tsc, uint64_t{1} << shift, ns);
  const uint64_t ticks = multiply_divide(delta_ns, rate, uint64_t{1} << shift);
  const uint64_t far = uint64_t{1} << 62;
  // A deadline of 0 would disarm.
  write_msr(msr_tsc_deadline, tsc + (ticks > far ? far : ticks) + 1);
}

void arm_counter(uint64_t now_ns, uint64_t delta_ns) {
  if (!apic.timer_hz_exact)
    refine_timer_frequency(now_ns);
  const uint64_t counts = multiply_divide(delta_ns, apic.timer_hz, time::ns_per_s);
  apic.armed_count = counts >= UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(counts) + 1;
  apic.armed_ns = now_ns;
  write(apic_register::timer_initial_count, apic.armed_count);
}

void disarm() {
  if (apic.tsc_deadline)
    write_msr(msr_tsc_deadline, 0);
  else
    write(apic_register::timer_initial_count, 0);
  apic.armed_count = 0;
}

} // namespace

result<void> start_interrupts() {
  if (apic.started)
    return {};
  if (!features.apic) {
    log::error("oblako: this processor lacks what the application needs: apic (interrupts)");
    power_off(1);
  }
  apic.x2apic = features.x2apic;
  apic.tsc_deadline = features.tsc_deadline;
  const uint64_t base = read_msr(msr_apic_base);
  if (!apic.x2apic && !apic.registers) {
    volatile void* page = TRY(mem::map_device(phys_addr{base & 0x000ffffffffff000}, page_size));
    apic.registers = static_cast<volatile uint32_t*>(page);
  }
  // Only now, so that an image without interrupts has neither the stubs nor the work.
  load_interrupt_table(interrupt_idt, interrupt_idt_end);
  // Enabled first, then x2APIC: the SDM allows no direct way from disabled to x2APIC.
  write_msr(msr_apic_base, base | apic_base_enable);
  if (apic.x2apic)
    write_msr(msr_apic_base, base | apic_base_enable | apic_base_x2apic);

  write(apic_register::spurious, spurious_apic_enable | spurious_vector);
  write(apic_register::task_priority, 0);
  write(apic_register::lvt_lint0, lvt_masked);
  write(apic_register::lvt_lint1, lvt_delivery_nmi);
  write(apic_register::lvt_error, lvt_masked);

  if (apic.tsc_deadline) {
    write(apic_register::lvt_timer, lvt_timer_tsc_deadline | timer_vector);
    // SDM 10.5.4.1: orders the LVT store before the first write to the deadline MSR.
    asm volatile("mfence; lfence" ::: "memory");
    apic.first_tsc = read_tsc();
    apic.first_ns = time::monotonic_ns();
  } else {
    find_timer_frequency();
    write(apic_register::timer_divide, divide_by_one);
    write(apic_register::lvt_timer, lvt_timer_one_shot | timer_vector);
  }
  const uint32_t id = read(apic_register::id);
  this_cpu().apic_id = apic.x2apic ? id : id >> 24;
  apic.started = true;
  return {};
}

void arm_deadline_timer(uint64_t monotonic_deadline_ns) {
  if (!apic.started) {
    if (monotonic_deadline_ns == time::no_deadline)
      return;
    if (!start_interrupts().ok()) {
      log::error("no memory for the interrupt controller's registers");
      power_off(1);
    }
  }
  if (monotonic_deadline_ns == time::no_deadline)
    return disarm();
  const uint64_t now = time::monotonic_ns();
  const uint64_t delta = monotonic_deadline_ns > now ? monotonic_deadline_ns - now : 0;
  if (apic.tsc_deadline)
    arm_tsc_deadline(delta);
  else
    arm_counter(now, delta);
}

void end_of_interrupt() {
  write(apic_register::end_of_interrupt, 0);
}

msi_message message_for(uint8_t vector) {
  // Physical destination, fixed delivery, edge (SDM 10.11).
  return {0xfee00000u | uint64_t{this_cpu().apic_id & 0xff} << 12, vector};
}

} // namespace oblako::arch
