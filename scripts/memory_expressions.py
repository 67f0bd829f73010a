#!/usr/bin/env python3
"""Parts of memory in a recipe's arguments and files: `{memory/16}` (core/boot/memory_expressions.cc).

The image build checks their form here and leaves room for the numbers. On a host, for programs that
read the same files: memory_expressions.py FILE BYTES prints the file as a machine would see it that
has so many bytes of memory.
"""

import re
import sys

NUMBER = r"([1-9][0-9]*[kMG]?)"
START = re.compile(r"\{memory[^}\n]*\}?")
FORM = re.compile(rf"\{{memory(?:\*([1-9][0-9]*))?(?:/{NUMBER})?(?::{NUMBER})?(?::{NUMBER})?\}}")
DIGITS = 20  # of the largest number there is
UNITS = {"k": 10, "M": 20, "G": 30}


def checked(text, where):
    """The matches of all expressions; ends with a message if one is not of the form."""
    matches = []
    for found in START.finditer(text):
        match = FORM.fullmatch(found[0])
        if not match:
            sys.exit(f"{where}: not of the form {{memory*A/B:LEAST:MOST}}: {found[0]}")
        matches.append(match)
    return matches


def with_room(text, where):
    """The text with blanks in front of each closing brace: the kernel writes the number over it."""
    checked(text, where)
    return START.sub(lambda m: m[0][:-1].ljust(DIGITS - 1) + "}", text)


def value(match, memory):
    def number(text):
        return int(text.rstrip("kMG")) << UNITS.get(text[-1], 0)

    times, divisor, least, most = match.groups()
    result = memory * int(times or 1) // number(divisor or "1")
    result = max(result, number(least or "0"))
    return min(result, number(most)) if most else result


def expanded(text, memory, where=""):
    checked(text, where)
    return START.sub(lambda m: str(value(FORM.fullmatch(m[0]), memory)), text)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        print(expanded(f.read(), int(sys.argv[2]), sys.argv[1]), end="")


if __name__ == "__main__":
    main()
