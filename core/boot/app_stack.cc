// Builds the initial stack (System V ABI, AMD64, 3.4.1) through marked accesses: the stack is
// ordinary demand-zero application memory.
#include "core/boot/app_stack.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "core/boot/options.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include <elf.h>

extern "C" {
extern char app_text_start[], app_bss_end[], app_tls_start[], app_tls_file_end[];
extern char app_eh_frame_hdr[], app_eh_frame_hdr_end[];
extern char app_tls_bytes[],
    app_tls_alignment[]; // absolute symbols: their addresses are the values
void _start();
}

namespace oblako::boot {
namespace {

constexpr size_t stack_bytes = 8_MiB; // Linux's default
constexpr size_t max_string_bytes = 128_KiB;
constexpr struct {
  const char *option, *variable; // which option replaces it
} default_environment[] = {{"env.HOME", "HOME=/"}, {"env.PATH", "PATH=/usr/bin:/bin"}};

uint64_t value_of(const char* symbol) {
  return reinterpret_cast<uint64_t>(symbol);
}

// Grows downwards from the stack's top; remembers the first failure.
class stack_writer {
public:
  explicit stack_writer(uint64_t top) : at_(top), top_(top) {}

  uint64_t push(const void* data, size_t bytes) {
    at_ -= bytes;
    if (status_.ok() && !mem::copy_to_app(reinterpret_cast<void*>(at_), data, bytes).ok())
      status_ = error::nomem;
    return at_;
  }
  uint64_t push_string(const char* s) {
    if (top_ - at_ > max_string_bytes) {
      status_ = error::toobig;
      return at_;
    }
    return push(s, strlen_of(s) + 1);
  }
  void push_word(uint64_t w) { push(&w, sizeof(w)); }
  void align(uint64_t to) { at_ = align_down(at_, to); }
  uint64_t position() const { return at_; }
  error status() const { return status_.code(); }

private:
  static size_t strlen_of(const char* s) {
    size_t n = 0;
    while (s[n])
      ++n;
    return n;
  }
  uint64_t at_;
  uint64_t top_;
  result<void> status_;
};

// What an unwinder and the C library ask of the program headers: where the image lies, its
// thread-local block, its unwind tables.
size_t make_headers(Elf64_Phdr* h) {
  size_t n = 0;
  h[n++] = {.p_type = PT_LOAD,
            .p_flags = PF_R | PF_W | PF_X,
            .p_offset = 0,
            .p_vaddr = value_of(app_text_start),
            .p_paddr = 0,
            .p_filesz = value_of(app_bss_end) - value_of(app_text_start),
            .p_memsz = value_of(app_bss_end) - value_of(app_text_start),
            .p_align = page_size};
  if (const uint64_t bytes = value_of(app_tls_bytes))
    h[n++] = {.p_type = PT_TLS,
              .p_flags = PF_R,
              .p_offset = 0,
              .p_vaddr = value_of(app_tls_start),
              .p_paddr = 0,
              .p_filesz = value_of(app_tls_file_end) - value_of(app_tls_start),
              .p_memsz = bytes,
              .p_align = value_of(app_tls_alignment)};
  if (const uint64_t bytes = value_of(app_eh_frame_hdr_end) - value_of(app_eh_frame_hdr))
    h[n++] = {.p_type = PT_GNU_EH_FRAME,
              .p_flags = PF_R,
              .p_offset = 0,
              .p_vaddr = value_of(app_eh_frame_hdr),
              .p_paddr = 0,
              .p_filesz = bytes,
              .p_memsz = bytes,
              .p_align = 4};
  h[n++] = {.p_type = PT_GNU_STACK,
            .p_flags = PF_R | PF_W,
            .p_offset = 0,
            .p_vaddr = 0,
            .p_paddr = 0,
            .p_filesz = 0,
            .p_memsz = 0,
            .p_align = 16};
  return n;
}

struct environment_writer {
  stack_writer& stack;
  uint64_t* pointers;
  size_t count;
};

void push_variable(const char* name, const char* value, void* context) {
  auto& w = *static_cast<environment_writer*>(context);
  w.stack.push_string(value);
  // Over the terminator's place in front of it: NAME=VALUE in one piece.
  w.stack.push("=", 1);
  size_t n = 0;
  while (name[n])
    ++n;
  w.pointers[w.count++] = w.stack.push(name, n);
}

uint64_t push_random(stack_writer& stack) {
  // Seeds stack protectors; where the CPU has no generator the TSC is the best there is this early.
  uint64_t words[2];
  for (uint64_t& w : words)
    if (!arch::hardware_random(w))
      w = arch::read_tsc() * 0x9e3779b97f4a7c15;
  return stack.push(words, sizeof(words));
}
constinit stack_layout layout;
} // namespace

const stack_layout& application_stack_layout() {
  return layout;
}

result<uint64_t> make_application_stack(const arguments& args) {
  const uintptr_t base = TRY(mem::add_first_stack(stack_bytes));
  stack_writer stack(base + stack_bytes);

  stack.push_word(0);
  const uint64_t exec_name = stack.push_string(args.count ? args.words[0] : "application");
  layout.program = exec_name;
  constexpr size_t max_variables = 80; // the option table's size and the defaults
  static uint64_t variables[max_variables], words[max_arguments];
  environment_writer environment{stack, variables, 0};
  for (const auto& d : default_environment)
    if (!option(d.option))
      variables[environment.count++] = stack.push_string(d.variable);
  environment_options(push_variable, &environment);
  layout.environment = stack.position();
  for (size_t i = args.count; i-- > 0;)
    words[i] = stack.push_string(args.words[i]);
  layout.arguments = stack.position();

  stack.align(16);
  const uint64_t random = push_random(stack);
  Elf64_Phdr headers[4];
  const size_t header_count = make_headers(headers);
  const uint64_t header_address = stack.push(headers, header_count * sizeof(Elf64_Phdr));

  const Elf64_auxv_t auxiliary[] = {
      {AT_PHDR, {header_address}},
      {AT_PHENT, {sizeof(Elf64_Phdr)}},
      {AT_PHNUM, {header_count}},
      {AT_PAGESZ, {page_size}},
      {AT_ENTRY, {reinterpret_cast<uint64_t>(&_start)}},
      {AT_UID, {0}},
      {AT_EUID, {0}},
      {AT_GID, {0}},
      {AT_EGID, {0}},
      {AT_SECURE, {0}},
      {AT_CLKTCK, {100}},
      {AT_HWCAP, {arch::boot_cpuid.basic_edx}},
      {AT_RANDOM, {random}},
      {AT_EXECFN, {exec_name}},
      {AT_NULL, {0}},
  };
  // argc ends up 16-byte aligned: everything above it is an even number of words after padding.
  const size_t pointer_words = 1 + args.count + 1 + environment.count + 1;
  stack.align(16);
  if (pointer_words % 2)
    stack.push_word(0);
  static_assert(sizeof auxiliary == stack_layout::auxiliary_bytes);
  layout.auxiliary = stack.push(auxiliary, sizeof(auxiliary));
  stack.push_word(0);
  stack.push(variables, environment.count * sizeof(uint64_t));
  stack.push_word(0);
  stack.push(words, args.count * sizeof(uint64_t));
  stack.push_word(args.count);
  if (stack.status() != error::none)
    return stack.status();
  return stack.position();
}

} // namespace oblako::boot
