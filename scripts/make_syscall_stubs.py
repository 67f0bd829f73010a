#!/usr/bin/env python3
"""Makes an archive with one stub object for every Linux system call, and the table behind syscall().

A stub returns -ENOSYS and says so once, with its name; which ones an image holds is part of the
build's report. The table holds weak references by number and links nothing by itself.
Usage: make_syscall_stubs.py SYSCALLS.TXT STUB_ARCHIVE TABLE_OBJECT
"""

import os
import subprocess
import sys
import tempfile

# What our replacements of musl's assembly call beside Linux's own names.
EXTRA = ()

STUB = """\
  .section .text.stub.{name}, "ax", @progbits
  .globl sys_{name}, oblako_stub_{name}
  .weak sys_{name}
  .type sys_{name}, @function
sys_{name}:
oblako_stub_{name}:
  lea name_{name}(%rip), %rdi
  lea said_{name}(%rip), %rsi
  jmp oblako_missing_syscall
  .section .rodata.stub.{name}, "a", @progbits
name_{name}: .asciz "{name}"
  .section .bss.stub.{name}, "aw", @nobits
said_{name}: .skip 1
  .section .note.GNU-stack, "", @progbits
"""


def assemble(source, target):
    subprocess.run(["as", "--64", "-o", target, "-"], input=source.encode(), check=True)


def main():
    calls_file, archive, table = sys.argv[1:4]
    with open(calls_file, encoding="ascii") as f:
        calls = [(int(number), name) for number, name in (line.split() for line in f)]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        # One assembler run for all would be one object; the linker takes archives by the object.
        for name in sorted({name for _, name in calls} | set(EXTRA)):
            path = os.path.join(folder, name + ".o")
            assemble(STUB.format(name=name), path)
            objects.append(path)
        if os.path.exists(archive):
            os.remove(archive)
        subprocess.run(["ar", "qcD", archive, *objects], check=True)
    by_number = dict(calls)
    lines = ['  .section .rodata.__oblako_syscall_table, "a", @progbits', "  .p2align 3",
             "  .globl __oblako_syscall_table, __oblako_syscall_count", "__oblako_syscall_table:"]
    last = max(by_number)
    for number in range(last + 1):
        name = by_number.get(number)
        if name:
            lines.append(f"  .weak sys_{name}")
        lines.append(f"  .quad {'sys_' + name if name else 0}")
    lines += [f"__oblako_syscall_count: .quad {last + 1}", '  .section .note.GNU-stack, "", @progbits', ""]
    assemble("\n".join(lines), table)


if __name__ == "__main__":
    main()
