// The least a guest can do, and so the limit for every boot figure: enter by PVH, then end the
// machine through isa-debug-exit (port 0x501, QEMU exit status 1).
//
//   gcc -nostdlib -static -Wl,-Ttext=0x200000,--build-id=none -o null_guest null_guest.S
//
// With -DCOUNT it first executes a known number of instructions, to check the counting itself:
// 2 + 2 * 1000 in a loop, 3 with one `rep stosb` of 500 bytes, and 2 * 100 at `idle`.
        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 4, 18                // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start

        .text
        .code32
        .globl  _start, idle, idle_end, finish
_start:
#ifdef COUNT
        movl    $1000, %ecx
1:      decl    %ecx
        jnz     1b
        movl    $500, %ecx
        movl    $0x300000, %edi
        rep stosb
        movl    $100, %ecx
idle:   decl    %ecx
        jnz     idle
idle_end:
#endif
finish: movw    $0x501, %dx
        xorl    %eax, %eax
        outb    %al, %dx
        hlt

        .section .note.GNU-stack, "", @progbits
