// Entries of the interrupt descriptor table, for assembly (Intel SDM vol. 3, 6.14.1). Stubs lie 16
// bytes apart and, as image.ld asserts, within one 64 kB, so that only the lowest part of their
// addresses differs.
#define code_selector 0x08
#define type_interrupt_gate 0x8e
#define stub_spacing 16
// All of the kernel lies in the last 2 GB.
#define kernel_upper_half 0xffffffff

#define ist_exception 1
#define ist_interrupt 2
#define ist_nmi 3
#define ist_double_fault 4
#define ist_machine_check 5

  // `bits_0` and `bits_16`: of the address of the stub for number 0.
  .macro interrupt_gate bits_0, bits_16, number, stack
  .word \bits_0 + stub_spacing * \number
  .word code_selector
  .byte \stack
  .byte type_interrupt_gate
  .word \bits_16
  .long kernel_upper_half
  .long 0
  .endm

  .macro exception_gates
  .reloc ., R_X86_64_NONE, exception_stubs
  .set gate_number, 0
  .rept 32
  .if gate_number == 2
  interrupt_gate exception_stubs_bits_0, exception_stubs_bits_16, gate_number, ist_nmi
  .elseif gate_number == 8
  interrupt_gate exception_stubs_bits_0, exception_stubs_bits_16, gate_number, ist_double_fault
  .elseif gate_number == 18
  interrupt_gate exception_stubs_bits_0, exception_stubs_bits_16, gate_number, ist_machine_check
  .else
  interrupt_gate exception_stubs_bits_0, exception_stubs_bits_16, gate_number, ist_exception
  .endif
  .set gate_number, gate_number + 1
  .endr
  .endm
