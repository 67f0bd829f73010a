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

// Not inlined: the fields' stores once and not for every header.
[[gnu::noinline]] void set_header(Elf64_Phdr& h, uint32_t type, uint32_t flags, uint64_t address,
                                  uint64_t file_bytes, uint64_t bytes, uint64_t alignment) {
  h = {.p_type = type,
       .p_flags = flags,
       .p_offset = 0,
       .p_vaddr = address,
       .p_paddr = 0,
       .p_filesz = file_bytes,
       .p_memsz = bytes,
       .p_align = alignment};
}

// What an unwinder and the C library ask of the program headers: where the image lies, its
// thread-local block, its unwind tables.
size_t make_headers(Elf64_Phdr* h) {
  size_t n = 0;
  const uint64_t start = value_of(app_text_start), size = value_of(app_bss_end) - start;
  set_header(h[n++], PT_LOAD, PF_R | PF_W | PF_X, start, size, size, page_size);
  if (const uint64_t bytes = value_of(app_tls_bytes)) {
    const uint64_t tls = value_of(app_tls_start);
    set_header(h[n++], PT_TLS, PF_R, tls, value_of(app_tls_file_end) - tls, bytes,
               value_of(app_tls_alignment));
  }
  const uint64_t tables = value_of(app_eh_frame_hdr);
  if (const uint64_t bytes = value_of(app_eh_frame_hdr_end) - tables)
    set_header(h[n++], PT_GNU_EH_FRAME, PF_R, tables, bytes, bytes, 4);
  set_header(h[n++], PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 16);
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

  // A table, because each word that code writes costs an image ten bytes.
  struct fixed_value {
    uint8_t type;
    uint16_t value;
  };
  static constexpr fixed_value fixed[] = {
      {AT_NULL, 0}, // the end, and so the first to be pushed
      {AT_PHENT, sizeof(Elf64_Phdr)},
      {AT_PAGESZ, page_size},
      {AT_UID, 0},
      {AT_EUID, 0},
      {AT_GID, 0},
      {AT_EGID, 0},
      {AT_SECURE, 0},
      {AT_CLKTCK, 100},
  };
  const Elf64_auxv_t known[] = {
      {AT_PHDR, {header_address}},
      {AT_PHNUM, {header_count}},
      {AT_ENTRY, {reinterpret_cast<uint64_t>(&_start)}},
      {AT_HWCAP, {arch::boot_cpuid.basic_edx}},
      {AT_RANDOM, {random}},
      {AT_EXECFN, {exec_name}},
  };
  // argc ends up 16-byte aligned: everything above it is an even number of words after padding.
  // Besides the pointers there are argc and two terminators.
  stack.align(16);
  if ((args.count + environment.count) % 2 == 0)
    stack.push_word(0);
  static_assert(sizeof known + sizeof fixed / sizeof *fixed * sizeof(Elf64_auxv_t) ==
                stack_layout::auxiliary_bytes);
  static_assert(sizeof known + sizeof fixed / sizeof *fixed * sizeof(Elf64_auxv_t) ==
                stack_layout::auxiliary_bytes);
  for (const fixed_value& f : fixed) {
    const uint64_t pair[] = {f.type, f.value};
    stack.push(pair, sizeof pair);
  }
  layout.auxiliary = stack.push(known, sizeof(known));
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
