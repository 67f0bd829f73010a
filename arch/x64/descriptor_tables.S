// Segments, task state and the table of exceptions (Intel SDM vol. 3, 3.4.5, 6.14, 8.7), complete as
// they are linked: an address in a descriptor is in pieces, which the linker script cuts (image.ld).
// They are constants, and read-only like all constants once map_image() is done. The processor
// writes only to mark the task state busy, when it is loaded, and that is before.
//
// The table for all 256 vectors is in interrupt_entry.S: it is in the image only with interrupts.

#include "arch/x64/interrupt_gate.h"

#define tss_bytes 104

  .section .rodata.descriptor_tables, "a", @progbits
  .globl boot_gdt, boot_gdt_end, task_state_descriptor
  .p2align 3
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff     // 0x08: 64-bit code, accessed
  .quad 0x00cf93000000ffff     // 0x10: data, accessed
task_state_descriptor:         // 0x18
  .word tss_bytes - 1
  .word task_state_bits_0
  .byte task_state_bits_16
  .byte 0x89                   // present, 64-bit task state, not busy
  .byte 0
  .byte task_state_bits_24
  .long kernel_upper_half
  .long 0
boot_gdt_end:

  // The reserved fields make the stack pointers unaligned: see the SDM's figure 8-11.
  .globl task_state
  .p2align 3
task_state:
  .long 0
  .quad 0, 0, 0                // stacks for rings 0 to 2: there is no change of rings
  .quad 0
  .quad exception_stack_top    // IST 1, as ist_exception and so on in interrupt_gate.h
  .quad interrupt_stack_top
  .quad report_stack_top
  .quad report_stack_top
  .quad report_stack_top
  .quad 0, 0
  .quad 0
  .word 0
  .word tss_bytes              // no map of I/O ports
  .if . - task_state - tss_bytes
  .error "the task state has the wrong size"
  .endif

  .section .rodata.exception_idt, "a", @progbits
  .globl exception_idt, exception_idt_end
  .p2align 4
exception_idt:
  exception_gates
exception_idt_end:

  // Exceptions stay on their IST stack only for the copy to the kernel stack; interrupt handlers run
  // on theirs; NMI, double fault and machine check only report.
  .section .bss.exception_stacks, "aw", @nobits
  .p2align 4
  .skip 512
exception_stack_top:
  .skip 8192
interrupt_stack_top:
  .skip 4096
report_stack_top:

  .section .note.GNU-stack, "", @progbits
