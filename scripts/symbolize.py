#!/usr/bin/env python3
"""Adds names to the backtraces in a console log: symbolize.py build/redis/redis.elf.debug <log
`make run` does this by itself."""

import sys

from vmkit.symbols import Symbols


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    symbols = Symbols(sys.argv[1])
    for line in sys.stdin.buffer:
        text = line.rstrip(b"\r\n")
        sys.stdout.buffer.write(text + symbols.annotate(text) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
