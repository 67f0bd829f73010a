// The kernel command line, split in place. See options.hh for what it may hold. Whatever is wrong
// with an option is said in one line, and the option is left out; what is wrong with an address
// ends the machine, later (core/net/addressing.cc).
#include "core/boot/options.hh"
#include "core/boot/command_line.hh"
#include "core/log/log.hh"

namespace oblako::boot {
namespace {

constexpr size_t max_options = 64;

// The options by name, those that are always there first: one text, because it is also printed.
constexpr const char* unknown =
    "is unknown: there are clock hostname net.capture ip gw dns ip6 gw6 "
    "mem.wx boot.trace enN.ip env.NAME; arguments go behind --";
constexpr const char* names = unknown + sizeof "is unknown: there are";
enum name_index : unsigned { ip = 3, gw6 = 7, mem_wx, boot_trace }; // behind those of `checks`
// What is wrong with a value, or nullptr; each from the code that uses it, if that is linked.
using check = const char* (*)(const char* value);
constexpr check checks[] = {oblako_check_clock, oblako_check_host_name, oblako_check_capture};
static_assert(sizeof checks / sizeof checks[0] == ip);
constexpr char slot_prefix[] = "virtio_mmio.device=";
constexpr const char* too_many = "is one too many";

named_option options[max_options];
size_t option_count;
virtio_mmio_slot slots[max_virtio_mmio_slots];
size_t slot_count;

[[gnu::noinline]] bool equal(const char* a, const char* b) {
  while (*a && *a == *b) {
    ++a;
    ++b;
  }
  return *a == *b;
}

bool starts_with(const char* text, const char* prefix) {
  while (*prefix)
    if (*text++ != *prefix++)
      return false;
  return true;
}

bool parse_number(const char*& p, uint64_t& value) {
  unsigned base = 10;
  if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
    base = 16;
    p += 2;
  }
  const char* first = p;
  value = 0;
  for (;; ++p) {
    unsigned digit;
    if (*p >= '0' && *p <= '9')
      digit = static_cast<unsigned>(*p - '0');
    else if (base == 16 && (*p | 32) >= 'a' && (*p | 32) <= 'f')
      digit = static_cast<unsigned>((*p | 32) - 'a' + 10);
    else
      return p != first;
    if (value > (UINT64_MAX - digit) / base)
      return false;
    value = value * base + digit;
  }
}

// SIZE[KMG]@ADDRESS:IRQ[:ID]
bool parse_slot(const char* p, virtio_mmio_slot& slot) {
  uint64_t size, address, irq;
  if (!parse_number(p, size))
    return false;
  switch (*p) {
  case 'k':
  case 'K':
    size <<= 10, ++p;
    break;
  case 'm':
  case 'M':
    size <<= 20, ++p;
    break;
  }
  if (*p++ != '@' || !parse_number(p, address) || *p++ != ':' || !parse_number(p, irq))
    return false;
  if (*p != 0 && *p != ':')
    return false;
  if (size == 0 || size > UINT32_MAX || irq > UINT32_MAX)
    return false;
  slot = {address, static_cast<uint32_t>(size), static_cast<uint32_t>(irq)};
  return true;
}

[[gnu::noinline]] void complain(const char* word, const char* what) {
  log::warning("%s %s; ignored", word, what);
}

void add_slot(const char* word) {
  virtio_mmio_slot slot;
  if (!parse_slot(word + sizeof slot_prefix - 1, slot))
    complain(word, "is not SIZE@ADDRESS:IRQ");
  else if (slot_count == max_virtio_mmio_slots)
    complain(word, too_many);
  else
    slots[slot_count++] = slot;
}

// The NAME of enN.NAME, or nullptr.
const char* interface_option(const char* name) {
  const bool one = starts_with(name, "en") && name[2] >= '0' && name[2] <= '9' && name[3] == '.';
  return one ? name + 4 : nullptr;
}

// The name's place in `names`; what is beyond them all if it is not there.
unsigned index_of(const char* name) {
  unsigned index = 0;
  for (const char* p = names;; ++p, ++index) {
    const char* n = name;
    while (*n && *n == *p && *p != ' ')
      ++n, ++p;
    if (!*n && (!*p || *p == ' '))
      return index;
    while (*p && *p != ' ')
      ++p;
    if (!*p)
      return ~0u;
  }
}

bool is_for_interfaces(unsigned index) {
  return index >= ip && index <= gw6;
}

// What is wrong with an option, or nullptr.
const char* complaint(const char* name, const char* value, bool bare) {
  if (starts_with(name, "env."))
    return bare || !name[4] ? "is not env.NAME=VALUE" : nullptr;
  const char* rest = interface_option(name);
  const unsigned index = index_of(rest ? rest : name);
  if (is_for_interfaces(index))
    return nullptr;
  if (rest || index > boot_trace)
    return unknown;
  if (index == mem_wx)
    return equal(value, "allow") ? nullptr : "is not mem.wx=allow";
  if (index == boot_trace)
    return bare ? nullptr : "takes no value";
  const check f = checks[index];
  return f ? f(value) : nullptr;
}

void add_option(char* word) {
  char* value = word;
  while (*value && *value != '=')
    ++value;
  const bool bare = !*value;
  if (!bare)
    *value++ = 0;
  const char* wrong = complaint(word, value, bare);
  if (!wrong && option(word))
    wrong = "comes again";
  if (!wrong && option_count == max_options)
    wrong = too_many;
  if (!wrong) {
    options[option_count++] = {word, value};
    return;
  }
  if (!bare)
    value[-1] = '=';
  complain(word, wrong);
}

} // namespace

void parse_command_line(char* text, arguments& out) {
  word_splitter words(text);
  bool behind_dashes = false;
  while (char* word = words.next()) {
    if (starts_with(word, slot_prefix))
      add_slot(word);
    else if (behind_dashes)
      out.add(word);
    else if (equal(word, "--"))
      behind_dashes = true;
    else
      add_option(word);
  }
  if (words.unterminated_quote())
    log::warning("a quote on the command line is not closed");
}

const char* option(const char* name) {
  for (size_t i = 0; i < option_count; i++)
    if (equal(options[i].name, name))
      return options[i].value;
  return nullptr;
}

named_option interface_option_beyond(unsigned count) {
  for (size_t i = 0; i < option_count; i++) {
    const char* name = options[i].name;
    const char* rest = interface_option(name);
    const bool first = is_for_interfaces(index_of(name)); // the first interface's
    if ((rest && static_cast<unsigned>(name[2] - '0') >= count) || (first && count == 0))
      return {name, options[i].value};
  }
  return {};
}

size_t environment_options(void (*f)(const char* name, const char* value, void*), void* context) {
  size_t n = 0;
  for (size_t i = 0; i < option_count; i++)
    if (starts_with(options[i].name, "env.")) {
      f(options[i].name + 4, options[i].value, context);
      ++n;
    }
  return n;
}

size_t virtio_mmio_slots(const virtio_mmio_slot** out) {
  *out = slots;
  return slot_count;
}

} // namespace oblako::boot
