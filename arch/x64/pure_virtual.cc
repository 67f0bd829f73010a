// A call through a vtable entry that has no function: the object was used while it was being
// built or destroyed. Renamed to kernel_pure_virtual in the archive.
#include "core/log/log.hh"

extern "C" [[noreturn]] void __cxa_pure_virtual() {
  oblako::log::panic("call of a pure virtual function");
}
