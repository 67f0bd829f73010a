#include "arch/x64/signal_frame.hh"

#include "arch/x64/cpu_features.hh"

namespace oblako::arch {
namespace {

// Within the legacy area, see Intel SDM vol. 1, 10.5.1 and Linux's _fpx_sw_bytes.
constexpr size_t mxcsr_offset = 24, mxcsr_mask_offset = 28, description_offset = 464;
constexpr uint32_t default_mxcsr_mask = 0xffbf;
constexpr uint32_t description_magic = 0x46505853, end_magic = 0x46505845;
constexpr uint64_t legacy_features = 3; // x87 and SSE

struct description {
  uint32_t magic;
  uint32_t extended_bytes;
  uint64_t features;
  uint32_t state_bytes;
  uint32_t padding[7];
};
static_assert(description_offset + sizeof(description) == legacy_vector_state_size);

struct xsave_header {
  uint64_t present, compacted, reserved[6];
};

template <class T>
T& at(void* area, size_t offset) {
  return *reinterpret_cast<T*>(static_cast<char*>(area) + offset);
}

// Carry, parity, adjust, zero, sign, direction, overflow. Not trap, which would stop in the
// kernel's calls.
constexpr uint64_t changeable_flags = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800;

uint32_t mxcsr_mask() {
  alignas(16) char area[legacy_vector_state_size];
  asm volatile("fxsave64 (%0)" ::"r"(area) : "memory");
  const uint32_t mask = at<uint32_t>(area, mxcsr_mask_offset);
  return mask ? mask : default_mxcsr_mask;
}

bool is_extended(void* area, size_t bytes) {
  const auto& d = at<description>(area, description_offset);
  const size_t size = vector_state_size();
  return bytes >= signal_vector_bytes() && d.magic == description_magic &&
         d.extended_bytes == bytes && d.state_bytes == size &&
         at<uint32_t>(area, size) == end_magic;
}

} // namespace

void store_registers(signal_registers& to, const trap_frame& from) {
  to = {};
  to.r8 = from.r8;
  to.r9 = from.r9;
  to.r10 = from.r10;
  to.r11 = from.r11;
  to.r12 = from.r12;
  to.r13 = from.r13;
  to.r14 = from.r14;
  to.r15 = from.r15;
  to.rdi = from.rdi;
  to.rsi = from.rsi;
  to.rbp = from.rbp;
  to.rbx = from.rbx;
  to.rdx = from.rdx;
  to.rax = from.rax;
  to.rcx = from.rcx;
  to.rsp = from.rsp;
  to.rip = from.rip;
  to.rflags = from.rflags;
  to.cs = static_cast<uint16_t>(from.cs);
  to.ss = static_cast<uint16_t>(from.ss);
  to.error_code = from.error_code;
  to.vector = from.vector;
}

void load_registers(trap_frame& to, const signal_registers& from) {
  to = {};
  to.r8 = from.r8;
  to.r9 = from.r9;
  to.r10 = from.r10;
  to.r11 = from.r11;
  to.r12 = from.r12;
  to.r13 = from.r13;
  to.r14 = from.r14;
  to.r15 = from.r15;
  to.rdi = from.rdi;
  to.rsi = from.rsi;
  to.rbp = from.rbp;
  to.rbx = from.rbx;
  to.rdx = from.rdx;
  to.rax = from.rax;
  to.rcx = from.rcx;
  to.rsp = from.rsp;
  to.rip = from.rip;
  to.rflags = (from.rflags & changeable_flags) | rflags_fixed | rflags_interrupts;
  fill_segments(to);
}

size_t signal_vector_bytes() {
  return features.xsave ? vector_state_size() + sizeof(end_magic) : legacy_vector_state_size;
}

void store_vector_state(void* area) {
  save_vector_state(area);
  at<description>(area, description_offset) = {};
  if (!features.xsave)
    return;
  const auto size = static_cast<uint32_t>(vector_state_size());
  at<description>(area, description_offset) = {
      description_magic, static_cast<uint32_t>(signal_vector_bytes()), features.xcr0, size, {}};
  at<uint32_t>(area, size) = end_magic;
}

void check_vector_state(void* area, size_t bytes) {
  const bool extended = features.xsave && is_extended(area, bytes);
  at<uint32_t>(area, mxcsr_offset) &= mxcsr_mask();
  if (!features.xsave)
    return;
  auto& header = at<xsave_header>(area, legacy_vector_state_size);
  header = {extended ? header.present & features.xcr0 : legacy_features, 0, {}};
}

} // namespace oblako::arch
