// Atomic access to application memory, for futexes.
#include "arch/x64/app_access.hh"
#include "core/mem/app_memory.hh"

namespace oblako::mem {

result<bool> compare_exchange_app(uint32_t* app, uint32_t& expected, uint32_t desired) {
  const auto address = reinterpret_cast<uintptr_t>(app);
  if (!in_app_range(address, sizeof(*app)) || address % sizeof(*app))
    return error::fault;
  const int outcome = app_access_compare_exchange(app, &expected, desired);
  if (outcome < 0)
    return error::fault;
  return outcome == 0;
}

} // namespace oblako::mem
