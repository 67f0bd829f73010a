// What is started, and in which order. Every subsystem is referred to weakly: what the application
// does not reach is not linked, and what is not linked is not started.
#include "arch/x64/acpi.hh"
#include "arch/x64/boot_info.hh"
#include "arch/x64/context.hh"
#include "arch/x64/cpu.hh"
#include "core/boot/app_stack.hh"
#include "core/boot/command_line.hh"
#include "core/boot/memory_expressions.hh"
#include "core/boot/timeline.hh"
#include "core/log/log.hh"
#include "core/mem/areas.hh"

extern "C" {
extern char app_text_start[], app_text_end[], app_rodata_start[], app_rodata_end[];
extern char app_data_start[], app_data_end[], app_bss_end[];
extern char app_load_start[], app_load_end[]; // physical
// The recipe's name and default arguments, from the image build; split in place.
extern char oblako_application_arguments[];
void _start();

void oblako_start_threads();
[[gnu::weak]] void oblako_start_signals();
[[gnu::weak]] void oblako_start_virtio_console();
[[gnu::weak]] void oblako_start_net();
[[gnu::weak]] void oblako_stop_net();
}

namespace oblako::boot {
namespace {

constinit arguments application_arguments;

void describe_image_areas() {
  const auto area = [](const char* start, const char* end, uint32_t prot) {
    const auto from = reinterpret_cast<uintptr_t>(start), to = reinterpret_cast<uintptr_t>(end);
    if (to > from && !mem::add_image_area(from, to - from, prot).ok())
      log::panic("no memory to describe the image: give the VM more memory");
  };
  area(app_text_start, app_text_end, mem::prot_read | mem::prot_exec);
  area(app_rodata_start, app_rodata_end, mem::prot_read);
  area(app_data_start, app_bss_end, mem::prot_read | mem::prot_write);
  mem::set_image_frames(phys_addr{reinterpret_cast<uint64_t>(app_load_start)},
                        phys_addr{reinterpret_cast<uint64_t>(app_load_end)});
}
} // namespace

void kernel_main(arch::boot_info& info) {
  stage_ticks[static_cast<unsigned>(stage::entry)] = info.entry_tsc;
  arch::acpi_start(info.rsdp);

  if (oblako_expand_memory)
    oblako_expand_memory(oblako_application_arguments);
  word_splitter defaults(oblako_application_arguments);
  while (const char* word = defaults.next())
    application_arguments.add(word);
  parse_command_line(info.command_line, application_arguments);
  OBLAKO_STAGE(options);

  oblako_start_threads();
  OBLAKO_STAGE(threads);
  describe_image_areas();
  if (oblako_start_signals)
    oblako_start_signals();
  if (oblako_start_virtio_console)
    oblako_start_virtio_console();
  OBLAKO_STAGE(devices);
  if (oblako_start_net)
    oblako_start_net();
  OBLAKO_STAGE(network);

  auto stack = make_application_stack(application_arguments);
  if (!stack.ok()) {
    log::error("oblako: cannot build the application's stack: %s",
               stack.code() == error::toobig ? "its arguments exceed 128 kB"
                                             : "give the VM more memory");
    arch::power_off(1);
  }
  OBLAKO_STAGE(application);
  arch::enter_application(reinterpret_cast<uint64_t>(&_start), *stack, 0);
}

} // namespace oblako::boot

// The end of the application (exit_group).
extern "C" [[noreturn]] void oblako_exit(int status) {
  if (oblako_stop_net)
    oblako_stop_net();
  oblako::boot::reached_end();
  oblako::arch::power_off(status & 0xff);
}
