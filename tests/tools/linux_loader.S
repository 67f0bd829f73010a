// The entry of the loader in linux_loader.c: from PVH to long mode with the first 1 GB mapped onto
// itself, then into the loaded image as Linux's 64-bit boot protocol says: code segment 0x10, data
// segments 0x18, interrupts off, the zero page's address in rsi.
        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 4, 18                // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start

        .text
        .code32
        .globl  _start
_start:
        cli
        cld
        movl    $stack_top, %esp
        movl    $pdpt + 3, pml4
        movl    $directory + 3, pdpt
        movl    $directory, %edi
        movl    $0x83, %eax             // present, writable, 2 MB
        movl    $512, %ecx
1:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    1b
        movl    $1 << 5, %eax           // PAE
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       // EFER: long mode
        rdmsr
        orl     $1 << 8, %eax
        wrmsr
        movl    $0x80000011, %eax       // PG, ET, PE
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $0x10, $long_mode

        .code64
long_mode:
        movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %ebx, %edi              // the PVH start info
        call    load                    // returns the image's entry point
        movl    $zero_page, %esi
        // What the protocol does not promise shall not help.
        movq    $-1, %rbx
        movq    %rbx, %rcx
        movq    %rbx, %rdx
        movq    %rbx, %rdi
        movq    %rbx, %rbp
        std
        jmp     *%rax

        .balign 8
gdt:    .quad   0, 0
        .quad   0x00af9b000000ffff      // 64-bit code
        .quad   0x00cf93000000ffff      // data
gdt_pointer:
        .word   31
        .quad   gdt

        .bss
        .balign 4096
pml4:   .skip   4096
pdpt:   .skip   4096
directory:
        .skip   4096
        .globl  zero_page
zero_page:
        .skip   4096
stack:  .skip   4096
stack_top:

        .section .note.GNU-stack, "", @progbits
