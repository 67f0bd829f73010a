#!/usr/bin/env python3
"""Which system calls an image reaches, which of them are stubs, and which numbers it passes to
syscall().

  report_syscalls.py ELF NUMBERS            redis reaches 96 system calls: 93 implemented, 3 stubs: …
  report_syscalls.py --needed ELF NUMBERS   names of sys_ functions for constant numbers given to
                                            syscall() that are not linked: for the linker's -u

NUMBERS holds lines "number name". A system call that is linked is a symbol sys_NAME; one that only
reports its absence has a symbol oblako_stub_NAME beside it.
"""

import argparse
import re
import struct
import subprocess
from pathlib import Path

# What sets the first argument to a constant: mov $n,%edi | mov $n,%rdi | xor %edi,%edi.
CONSTANT = re.compile(rb"\xbf(....)|\x48\xc7\xc7(....)|(\x31\xff)", re.DOTALL)
LOOK_BACK = 64  # bytes before the call within which its number is set


def symbols_of(elf):
    listing = subprocess.run(["nm", "--defined-only", elf], capture_output=True, text=True,
                             check=True).stdout
    table = {}
    for line in listing.splitlines():
        address, _, name = line.split(" ", 2)
        table[name] = int(address, 16)
    return table


def code_sections(elf):
    """(address, bytes) of each executable section."""
    data = Path(elf).read_bytes()
    offset, = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    for i in range(count):
        _, kind, flags, address, start, length = struct.unpack_from("<IIQQQQ", data,
                                                                    offset + i * size)
        if kind == 1 and flags & 4:
            yield address, data[start:start + length]


def constant_numbers(elf, target):
    """Constants passed as first argument where `target` is called or jumped to."""
    numbers = set()
    for base, code in code_sections(elf):
        for site in re.finditer(rb"[\xe8\xe9]", code):
            at = site.start()
            if at + 5 > len(code):
                break
            relative, = struct.unpack_from("<i", code, at + 1)
            if base + at + 5 + relative != target:
                continue
            found = None
            for found in CONSTANT.finditer(code, max(0, at - LOOK_BACK), at):
                pass  # the last one before the call
            if found:
                raw = found[1] or found[2]
                number = struct.unpack("<i", raw)[0] if raw else 0
                if 0 <= number < 1024:
                    numbers.add(number)
    return numbers


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--needed", action="store_true")
    p.add_argument("elf")
    p.add_argument("numbers")
    a = p.parse_args()

    names = dict(line.split() for line in Path(a.numbers).read_text().splitlines() if line.strip())
    symbols = symbols_of(a.elf)
    by_number = [names.get(str(n), str(n))
                 for n in sorted(constant_numbers(a.elf, symbols["syscall"]))] \
        if "syscall" in symbols else []
    if a.needed:
        # A futex wait that is not musl's own may have a timeout, which takes a clock.
        if "futex" in by_number:
            by_number.append("clock_gettime")
        print("\n".join(f"sys_{name}" for name in by_number if f"sys_{name}" not in symbols))
        return

    known = set(names.values())
    reached = {s[4:] for s in symbols if s.startswith("sys_") and s[4:] in known}
    stubs = sorted(name for name in reached if f"oblako_stub_{name}" in symbols)
    text = f"{Path(a.elf).name.split('.')[0]} reaches {len(reached)} system calls: "
    text += f"{len(reached) - len(stubs)} implemented"
    if stubs:
        text += f", {len(stubs)} {'stub' if len(stubs) == 1 else 'stubs'}: {' '.join(stubs)}"
    print(text)
    # The C library asks clone() for it, which makes threads only.
    if "posix_spawn" in symbols:
        print("  a second process (posix_spawn, popen, system) is answered with ENOSYS")
    missing = [name for name in by_number if name not in reached or name in stubs]
    if missing:
        print(f"  by number, answered with ENOSYS: {' '.join(missing)}")


if __name__ == "__main__":
    main()
