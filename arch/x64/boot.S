// Entry from the virtual machine monitor by the PVH protocol (Xen "x86/HVM direct boot ABI"):
// 32-bit protected mode, paging off, %ebx = physical address of hvm_start_info. Builds the early
// page tables, goes to 64-bit mode and calls boot_main on the boot stack.
//
// Early tables: the image's own page identity-mapped (this code), and the first early_map_bytes of
// RAM by 2 MB pages both at the kernel's base and in the direct map. boot_main replaces the
// kernel's part by 4 kB pages with the sections' permissions.

#define KERNEL_BASE 0xffffffffc0000000
#define PHYS(symbol) ((symbol) - KERNEL_BASE)

  .section .note.pvh, "a", @note
  .p2align 2
  .long 4                      // namesz
  .long 4                      // descsz
  .long 18                     // XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long pvh_entry

  .section .boot.text, "ax"
  .code32
  .globl pvh_entry
pvh_entry:
  cld
  mov %ebx, %esi               // start info, kept in esi
  rdtsc                        // time zero of the monotonic clock
  mov %eax, %ebp
  mov %edx, %esp               // no stack yet: a spare register

  // Zero the kernel's bss (page tables, boot stack and per-CPU block among it).
  mov $PHYS(kernel_bss_start), %edi
  mov $PHYS(kernel_bss_end), %ecx
  sub %edi, %ecx
  shr $2, %ecx
  xor %eax, %eax
  rep stosl

  // PML4: 0 -> low (identity now, the application later), 256 -> direct map, 511 -> kernel.
  mov $PHYS(boot_pdpt_low) + 3, %eax
  mov %eax, PHYS(boot_pml4)
  mov $PHYS(boot_pdpt_direct) + 3, %eax
  mov %eax, PHYS(boot_pml4) + 256 * 8
  mov $PHYS(boot_pdpt_kernel) + 3, %eax
  mov %eax, PHYS(boot_pml4) + 511 * 8
  mov $PHYS(boot_pd_low) + 3, %eax
  mov %eax, PHYS(boot_pdpt_low)
  mov $PHYS(boot_pt_low) + 3, %eax
  mov %eax, PHYS(boot_pd_low)
  mov $PHYS(boot_pd_early) + 3, %eax
  mov %eax, PHYS(boot_pdpt_direct)
  mov $PHYS(boot_pd_kernel) + 3, %eax
  mov %eax, PHYS(boot_pdpt_kernel) + 511 * 8
  // The identity page this code runs in (1 MB = entry 256 of the low table).
  movl $0x100000 + 1, PHYS(boot_pt_low) + 256 * 8

  // 2 MB pages over the image and 4 MB more, for direct map and kernel alike.
  mov $image_end + 0x400000 + 0x1fffff, %ecx
  shr $21, %ecx
  mov $0x183, %eax             // present, writable, large, global
  mov $PHYS(boot_pd_early), %edi
1:
  mov %eax, (%edi)
  mov %eax, PHYS(boot_pd_kernel) - PHYS(boot_pd_early)(%edi)
  add $8, %edi
  add $0x200000, %eax
  loop 1b

  // PAE, global pages, SSE. What depends on CPUID is switched on in 64-bit code.
  mov %cr4, %eax
  or $(1 << 5) | (1 << 7) | (1 << 9) | (1 << 10), %eax
  mov %eax, %cr4
  mov $PHYS(boot_pml4), %eax
  mov %eax, %cr3
  mov %esp, %edi               // edx of the TSC; rdmsr clobbers edx
  mov $0xc0000080, %ecx        // EFER: long mode, no-execute
  rdmsr
  or $(1 << 8) | (1 << 11), %eax
  wrmsr
  mov %cr0, %eax
  and $~((1 << 2) | (1 << 3) | (1 << 29) | (1 << 30)), %eax  // EM, TS, caches on
  or $0x80010023, %eax             // PG, WP, NE, MP, PE
  mov %eax, %cr0
  lgdt boot_gdt_pointer
  ljmp $8, $long_mode

  .code64
long_mode:
  mov $boot_high, %rax
  jmp *%rax

  .p2align 2
boot_gdt_pointer:
  .word 23
  .long boot_gdt_low
  .p2align 3
boot_gdt_low:
  .quad 0
  .quad 0x00af9b000000ffff     // 64-bit code, accessed
  .quad 0x00cf93000000ffff     // data, accessed

  .section .text.entry, "ax"
boot_high:
  xor %eax, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov %eax, %fs
  mov %eax, %gs
  mov $boot_stack_top, %rsp
  shl $32, %rdi
  mov %ebp, %ebp
  or %rbp, %rdi                // first argument: TSC at entry
  mov %esi, %esi               // second: start info (upper half cleared)
  xor %ebp, %ebp               // end of the frame-pointer chain
  call boot_main
  ud2

  .section .bss.boot_tables, "aw", @nobits
  .p2align 12
  .globl boot_pml4, boot_pdpt_direct, boot_pd_early, boot_pd_low, boot_pt_low, boot_pd_kernel
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pdpt_direct: .skip 4096
boot_pdpt_kernel: .skip 4096
boot_pd_low: .skip 4096
boot_pt_low: .skip 4096
boot_pd_early: .skip 4096
boot_pd_kernel: .skip 4096

  .section .bss.boot_stack, "aw", @nobits
  .p2align 12
  .globl boot_stack, boot_stack_top
boot_stack: .skip 16384
boot_stack_top:
