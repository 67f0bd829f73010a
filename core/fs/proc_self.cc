#include "core/fs/proc_self.hh"

#include "core/boot/app_stack.hh"
#include "core/fs/path.hh"
#include "core/mem/app_memory.hh"

namespace oblako::fs {
namespace {

void append_range(text_builder& out, uint64_t start, uint64_t end) {
  char piece[128];
  for (uint64_t at = start; at < end;) {
    const size_t n = min_of<size_t>(sizeof piece, end - at);
    if (!mem::copy_from_app(piece, reinterpret_cast<const void*>(at), n).ok())
      return;
    out.append_bytes(piece, n);
    at += n;
  }
}

} // namespace

void write_cmdline(text_builder& out) {
  const auto& lies = boot::application_stack_layout();
  append_range(out, lies.arguments, lies.environment);
}

void write_environ(text_builder& out) {
  const auto& lies = boot::application_stack_layout();
  append_range(out, lies.environment, lies.program);
}

void write_auxv(text_builder& out) {
  const auto& lies = boot::application_stack_layout();
  append_range(out, lies.auxiliary, lies.auxiliary + lies.auxiliary_bytes);
}

// Nothing if the directory was removed.
void write_cwd(text_builder& out) {
  auto* path = static_cast<char*>(mem::allocate(path_limit));
  if (!path)
    return;
  if (auto length = path_of(working_directory(), path, path_limit); length.ok())
    out.append_bytes(path, *length - 1);
  mem::release(path);
}

text program_name(char (&buffer)[256]) {
  const auto* app_path = reinterpret_cast<const char*>(boot::application_stack_layout().program);
  auto n = mem::string_from_app(buffer, sizeof buffer, app_path);
  if (!n.ok() || *n == 0)
    return "application";
  size_t begin = *n;
  while (begin && buffer[begin - 1] != '/')
    --begin;
  return {buffer + begin, *n - begin};
}

// There is no such file unless the recipe has one of that name.
void write_exe(text_builder& out) {
  char path[256];
  const text name = program_name(path);
  out.append("/");
  out.append_bytes(name.data, name.size);
}

} // namespace oblako::fs
