// The boot timeline: at which TSC tick each stage of the start-up was reached. A stamp is one rdtsc
// and one store; the table is printed only with the option boot.trace: up to `main` when it is
// about to run, the later stages as they come.
//
// Each stamp also leaves a symbol oblako_stage_NAME at its place, by which bench/count.py divides
// instructions and device accesses among the stages without disturbing them.
#pragma once

#include <stdint.h>

namespace oblako::boot {

// In the order in which they are reached. Names in timeline.cc.
enum class stage : uint8_t {
  entry,       // the first instruction of the image
  long_mode,   // 64-bit code runs on the kernel's own page tables
  memory,      // CPU features and free memory are known
  sections,    // the image's sections have their own pages and permissions; faults are ours
  options,     // the command line is read
  threads,     // the scheduler and the first thread are there
  devices,     // the application's areas are described; signals and consoles
  network,     // the network is up, if there is any
  application, // its stack is laid out: the C library's first instruction is next
  main,        // the C library is ready: main is next
  listen,      // first listen()
  answer,      // first bytes for a peer are with TCP
  end,         // the application has ended
};
constexpr unsigned stage_count = static_cast<unsigned>(stage::end) + 1;

// 0: not reached. Written by the boot CPU, and late stages by whoever comes first.
extern uint64_t stage_ticks[stage_count];

// Stamps a stage. Each name is used in one place, outside loops and inline functions, because its
// symbol must be unique.
#define OBLAKO_STAGE(name)                                                                         \
  do {                                                                                             \
    uint32_t stage_low, stage_high;                                                                \
    asm volatile("oblako_stage_" #name ":\n  rdtsc" : "=a"(stage_low), "=d"(stage_high));          \
    ::oblako::boot::stage_ticks[static_cast<unsigned>(::oblako::boot::stage::name)] =              \
        uint64_t{stage_high} << 32 | stage_low;                                                    \
  } while (0)

// For stages behind main. Context: thread.
void first_listen();
void first_answer();

inline bool is_reached(stage s) {
  return stage_ticks[static_cast<unsigned>(s)] != 0;
}
inline void reached_listen() {
  if (!is_reached(stage::listen)) [[unlikely]]
    first_listen();
}
inline void reached_answer() {
  if (!is_reached(stage::answer)) [[unlikely]]
    first_answer();
}
void reached_end();

} // namespace oblako::boot
