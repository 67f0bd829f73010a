// Copies between the kernel and application memory: a range check, then a marked access.
#include "core/mem/app_memory.hh"
#include "arch/x64/app_access.hh"

namespace oblako::mem {

result<void> zero_app(void* app_to, size_t bytes) {
  if (!in_app_range(reinterpret_cast<uintptr_t>(app_to), bytes)) [[unlikely]]
    return bytes ? result<void>(error::fault) : result<void>();
  if (app_access_zero(app_to, bytes)) [[unlikely]]
    return error::fault;
  return {};
}

result<size_t> string_from_app(char* to, size_t size, const char* app_from) {
  const auto start = reinterpret_cast<uintptr_t>(app_from);
  if (!in_app_range(start, 1)) [[unlikely]]
    return error::fault;
  const size_t reachable = min_of<size_t>(size, app_range_end - start);
  const ptrdiff_t length = app_access_string(to, app_from, reachable);
  if (length < 0)
    return error::fault;
  if (static_cast<size_t>(length) == reachable)
    return reachable == size ? error::nametoolong : error::fault;
  return static_cast<size_t>(length);
}

} // namespace oblako::mem
