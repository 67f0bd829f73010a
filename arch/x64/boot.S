// Entry from the virtual machine monitor, by one of two protocols:
//
//   pvh_entry    PVH (Xen "x86/HVM direct boot ABI"): 32-bit protected mode, paging off,
//                %ebx = physical address of hvm_start_info. Named by the ELF note.
//   linux_entry  Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst): long mode with low
//                memory identity-mapped, %rsi = physical address of the zero page. The ELF header's
//                entry point: Firecracker, older Cloud Hypervisor. It leaves long mode, so that one
//                piece of code builds the page tables for both.
//
// A processor that lacks something essential is named in one line and ends the VM with a failure.
// Otherwise this builds the early page tables, goes to 64-bit mode and calls boot_main on the boot
// stack.
//
// Early tables: the image's own page identity-mapped (this code), and the first early_map_bytes of
// RAM by 2 MB pages both at the kernel's base and in the direct map. boot_main replaces the
// kernel's part by 4 kB pages with the sections' permissions.

#define KERNEL_BASE 0xffffffffc0000000
#define PHYS(symbol) ((symbol) - KERNEL_BASE)

// enum class boot_protocol (boot.cc)
#define PROTOCOL_PVH 0
#define PROTOCOL_LINUX 1

// Where the image is loaded (image.ld); the memory maps in hvm_start_info (boot.cc) and in the zero
// page (linux_boot.cc).
#define LOAD_START 0x100000
#define START_INFO_MAGIC 0x336ec578
#define START_INFO_VERSION 4
#define START_INFO_MAP 40
#define START_INFO_MAP_ENTRIES 48
#define ZERO_PAGE_MAP 0x2d0
#define ZERO_PAGE_MAP_ENTRIES 0x1e8

// CPUID 1, edx: FPU, TSC, MSR, PAE, CMPXCHG8B, global pages, CMOV, FXSAVE, SSE, SSE2.
#define NEEDED_BASIC (1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 13 | 1 << 15 | 7 << 24)
// CPUID 0x80000001, edx: no-execute, long mode.
#define NEEDED_EXTENDED (1 << 20 | 1 << 29)

  .section .note.pvh, "a", @note
  .p2align 2
  .long 4                      // namesz
  .long 4                      // descsz
  .long 18                     // XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long pvh_entry

  .section .boot.text, "ax"
  .code64
  .globl linux_entry
linux_entry:
  cli
  lgdt boot_gdt_pointer
  ljmp *compatibility_mode
  .code32
leave_long_mode:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov %cr0, %eax
  and $0x7fffffff, %eax        // paging off, and with it long mode
  mov %eax, %cr0
  mov $PROTOCOL_LINUX, %ebp    // the zero page is in esi
  jmp 2f

  .globl pvh_entry
pvh_entry:
  mov %ebx, %esi               // start info, kept in esi
  xor %ebp, %ebp               // PROTOCOL_PVH, kept in ebp
2:
  cld
  rdtsc                        // time zero of the monotonic clock
  mov %eax, %ebx
  mov %edx, %esp               // no stack yet: a spare register

  // Does memory hold the whole image? Where it does not, not even the page tables below are there.
  // A range of RAM that begins at or below the image: 64-bit start, 64-bit length, type.
  mov $20, %edx                // bytes an entry
  lea ZERO_PAGE_MAP(%esi), %edi
  movzbl ZERO_PAGE_MAP_ENTRIES(%esi), %ecx
  test %ebp, %ebp
  jnz 3f
  cmpl $START_INFO_MAGIC, (%esi)
  jne 5f                       // boot_main says what is wrong with it
  cmpl $1, START_INFO_VERSION(%esi)
  jb 5f
  mov $24, %edx
  mov START_INFO_MAP(%esi), %edi
  mov START_INFO_MAP_ENTRIES(%esi), %ecx
3:
  test %ecx, %ecx              // boot_main says that there is no map
  jz 5f
4:
  cmpl $1, 16(%edi)            // RAM
  jne 6f
  cmpl $0, 4(%edi)             // starts below 4 GB
  jne 6f
  cmpl $LOAD_START, (%edi)
  ja 6f
  cmpl $0, 12(%edi)            // longer than 4 GB
  jne 5f
  mov (%edi), %eax
  add 8(%edi), %eax
  jc 5f
  cmp $image_end, %eax
  jae 5f
6:
  add %edx, %edi
  loop 4b
  jmp refuse_memory
5:

  // Zero the kernel's bss (page tables, boot stack and per-CPU block among it).
  mov $PHYS(kernel_bss_start), %edi
  mov $PHYS(kernel_bss_end), %ecx
  sub %edi, %ecx
  shr $2, %ecx
  xor %eax, %eax
  rep stosl
  mov %ebx, PHYS(entry_tsc)
  mov %esp, PHYS(entry_tsc) + 4

  // What the kernel cannot do without. The answers are kept: under KVM each CPUID is an exit.
  mov $1, %eax
  cpuid
  mov %ecx, PHYS(boot_cpuid)
  mov %edx, PHYS(boot_cpuid) + 4
  not %edx
  test $NEEDED_BASIC, %edx
  jnz refuse_processor
  mov $0x80000001, %eax
  cpuid
  mov %edx, PHYS(boot_cpuid) + 8
  not %edx
  test $NEEDED_EXTENDED, %edx
  jnz refuse_processor

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

  // 2 MB pages over the image and 4 MB more, for direct map and kernel alike. Nothing runs by the
  // direct map.
  mov $image_end + 0x400000 + 0x1fffff, %ecx
  shr $21, %ecx
  mov $0x183, %eax             // present, writable, large, global
  mov $PHYS(boot_pd_early), %edi
1:
  mov %eax, (%edi)
  movl $1 << 31, 4(%edi)       // no-execute
  mov %eax, PHYS(boot_pd_kernel) - PHYS(boot_pd_early)(%edi)
  add $8, %edi
  add $0x200000, %eax
  loop 1b

  // PAE, global pages, SSE. What depends on CPUID is switched on in 64-bit code.
  mov $1 << 5 | 1 << 7 | 1 << 9 | 1 << 10, %eax
  mov %eax, %cr4
  mov $PHYS(boot_pml4), %eax
  mov %eax, %cr3
  mov $0xc0000080, %ecx        // EFER: long mode, no-execute
  rdmsr
  or $(1 << 8) | (1 << 11), %eax
  wrmsr
  mov $0x80010033, %eax        // PG, WP, NE, ET, MP, PE; caches on
  mov %eax, %cr0
  lgdt boot_gdt_pointer
  ljmp $8, $long_mode

  .code64
long_mode:
  mov $boot_high, %rax
  jmp *%rax

  .p2align 2
compatibility_mode:            // far pointer
  .long leave_long_mode
  .word 0x18
boot_gdt_pointer:
  .word 31
  .quad boot_gdt_low           // 32-bit code reads the lower half
  .p2align 3
boot_gdt_low:
  .quad 0
  .quad 0x00af9b000000ffff     // 64-bit code, accessed
  .quad 0x00cf93000000ffff     // data, accessed
  .quad 0x00cf9b000000ffff     // 32-bit code, accessed

// Names what is missing and ends the VM.
  .code32
refuse_processor:
  mov $PHYS(boot_stack_top), %esp
  mov $refusal_begins, %esi
  call print
  mov $0x80000000, %eax
  cpuid
  mov %eax, %ebp               // the last extended leaf
  mov $needed_features, %edi
1:
  mov (%edi), %eax
  xor %edx, %edx
  test %eax, %eax
  jns 2f
  cmp %eax, %ebp
  jb 3f                        // no such leaf: none of its features
2:
  cpuid
3:
  movzbl 4(%edi), %ecx
  bt %ecx, %edx
  jc 4f
  lea 5(%edi), %esi
  call print
4:
  add $needed_feature_bytes, %edi
  cmp $needed_features_end, %edi
  jb 1b
  mov $refusal_ends, %esi
  call print
end_with_failure:
  // A failure for the host: isa-debug-exit, else a reset.
  mov $0x501, %edx
  mov $1, %al
  out %al, %dx
  mov $0xcf9, %edx
  mov $6, %al
  out %al, %dx
  lidt boot_gdt_low            // of no bytes
  int3

// Says how much is needed. The kernel's stack lies beyond memory, perhaps: one below 1 MB.
refuse_memory:
  mov $0x7c00, %esp
  mov $too_little_memory, %esi
  call print
  mov $image_least_mb, %eax
  mov $10, %ecx
  xor %edi, %edi
1:
  xor %edx, %edx
  div %ecx
  push %edx
  inc %edi
  test %eax, %eax
  jnz 1b
  mov $0x3f8, %edx
2:
  pop %eax
  add $'0', %al
  out %al, %dx
  dec %edi
  jnz 2b
  mov $give_more_memory, %esi
  call print
  jmp end_with_failure

print:                         // esi: text up to a zero byte
  mov $0x3f8, %edx
1:
  lodsb
  test %al, %al
  jz 2f
  out %al, %dx
  jmp 1b
2:
  ret

refusal_begins:
  .asciz "oblako: this processor lacks what the kernel needs:"
too_little_memory:
  .asciz "oblako: this image does not fit into the machine's memory: give it "
give_more_memory:
  .asciz " MB or more\r\n"
refusal_ends:
  .asciz "\r\n"

// Leaf of CPUID, bit of edx, name.
.set needed_feature_bytes, 16
.macro needed leaf, bit, name
  .long \leaf
  .byte \bit
  .asciz " \name"
  .p2align 4
.endm
  .p2align 4
needed_features:
  needed 1, 0, fpu
  needed 1, 4, tsc
  needed 1, 5, msr
  needed 1, 6, pae
  needed 1, 8, cx8
  needed 1, 13, pge
  needed 1, 15, cmov
  needed 1, 24, fxsr
  needed 1, 25, sse
  needed 1, 26, sse2
  needed 0x80000001, 20, nx
  needed 0x80000001, 29, long-mode
needed_features_end:

  .code64
  .section .text.entry, "ax"
boot_high:
  xor %eax, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov %eax, %fs
  mov %eax, %gs
  mov $boot_stack_top, %rsp
  mov entry_tsc, %rdi
  mov %esi, %esi               // second argument: what the monitor left (upper half cleared)
  mov %ebp, %edx               // third: boot_protocol
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

  .section .bss.boot_record, "aw", @nobits
  .p2align 3
  .globl boot_cpuid
entry_tsc: .skip 8
boot_cpuid: .skip 12           // struct boot_cpuid (cpu_features.hh)

  .section .bss.boot_stack, "aw", @nobits
  .p2align 12
  .globl boot_stack, boot_stack_top
boot_stack: .skip 16384
boot_stack_top:
