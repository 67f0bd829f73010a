// The kernel command line, split in place. See options.hh for what it may hold.
#include "core/boot/options.hh"
#include "core/boot/command_line.hh"
#include "core/log/log.hh"

namespace oblako::boot {
namespace {

constexpr size_t max_options = 64;
constexpr const char* known_names[] = {"ip",         "gw",          "dns", "hostname", "clock",
                                       "boot.trace", "net.capture", "ip6", "gw6",      "mem.wx"};

struct entry {
  const char* name;
  const char* value;
};
entry options[max_options];
size_t option_count;
virtio_mmio_slot slots[max_virtio_mmio_slots];
size_t slot_count;

bool equal(const char* a, const char* b) {
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

void add_slot(const char* value) {
  virtio_mmio_slot slot;
  if (!parse_slot(value, slot))
    log::warning("virtio_mmio.device=%s is not SIZE@ADDRESS:IRQ; ignored", value);
  else if (slot_count < max_virtio_mmio_slots)
    slots[slot_count++] = slot;
}

void add_option(char* text) {
  char* value = text;
  while (*value && *value != '=')
    ++value;
  if (*value)
    *value++ = 0;
  // env.NAME and enN.OPTION
  bool known = starts_with(text, "env.") ||
               (starts_with(text, "en") && text[2] >= '0' && text[2] <= '9' && text[3] == '.');
  for (const char* name : known_names)
    known = known || equal(name, text);
  if (!known) {
    log::warning("unknown option '%s' on the kernel command line "
                 "(the application's arguments go behind --)",
                 text);
    return;
  }
  if (option_count < max_options)
    options[option_count++] = {text, value};
  else
    log::warning("more than %zu options on the command line; '%s' ignored", max_options, text);
}

constexpr char slot_prefix[] = "virtio_mmio.device=";
} // namespace

void parse_command_line(char* text, arguments& out) {
  word_splitter words(text);
  bool behind_dashes = false;
  while (char* word = words.next()) {
    if (starts_with(word, slot_prefix))
      add_slot(word + sizeof(slot_prefix) - 1);
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
