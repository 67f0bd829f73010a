// Addresses as devices see them. There is no IOMMU: a device address is the physical one.
#pragma once

#include "core/base/types.hh"
#include "core/mem/frames.hh"

namespace oblako::virtio {

// Only for memory in the direct map (frames, kernel heap).
inline device_addr to_device(const void* direct) {
  return device_addr{raw(mem::to_physical(direct))};
}

} // namespace oblako::virtio
