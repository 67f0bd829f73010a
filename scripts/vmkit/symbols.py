"""Names for the addresses in a backtrace, from an ELF file's symbols and line table."""

import bisect
import re
import subprocess

# A frame of our backtraces.
FRAME = re.compile(rb"^\s*#(\d+) 0x([0-9a-f]{6,16})\b")
# Where the compiler ran, as the debug information has it in front of each of our own paths.
BUILD_FOLDER = re.compile(r"^\./(build/[\w-]+/)?\./")


class Symbols:
    def __init__(self, elf):
        self.elf = str(elf)
        self._table = None
        self._lines = None

    def table(self):
        if self._table is None:
            listing = subprocess.run(["nm", "-n", "--defined-only", "-C", self.elf],
                                     capture_output=True, text=True).stdout
            entries = [line.split(" ", 2) for line in listing.splitlines()]
            self._table = [(int(e[0], 16), e[2]) for e in entries
                           if len(e) == 3 and e[1] in "tTwWiuVv"]
        return self._table

    def address_of(self, name):
        for address, symbol in self.table():
            if symbol == name:
                return address
        return None

    def line(self, address):
        """file:line of an address, or None."""
        if self._lines is None:
            self._lines = subprocess.Popen(["addr2line", "-e", self.elf], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            self._lines.stdin.write(b"0x%x\n" % address)
            self._lines.stdin.flush()
            place = self._lines.stdout.readline().decode().strip().split(" (")[0]
        except OSError:
            return None
        if place.startswith("??") or place.endswith((":0", ":?")):
            return None
        return BUILD_FOLDER.sub("", place)

    def describe(self, address, is_return_address=False):
        """`function+0x12 (file:line)`, or None where no symbol is. A return address may be the
        first byte of the next function, so the call before it is looked up."""
        table = self.table()
        at = address - 1 if is_return_address else address
        i = bisect.bisect_right(table, (at, "\x7fffffff")) - 1
        if i < 0 or at - table[i][0] > 1 << 20:
            return None
        text = f"{table[i][1]}+0x{address - table[i][0]:x}"
        place = self.line(at)
        return f"{text} ({place})" if place else text

    def annotate(self, line):
        """What to append to a console line (bytes) that is a frame of a backtrace; b"" for
        every other line."""
        match = FRAME.match(line)
        if not match:
            return b""
        name = self.describe(int(match[2], 16), is_return_address=match[1] != b"0")
        return b"  " + name.encode() if name else b""

    def close(self):
        if self._lines:
            self._lines.stdin.close()
            self._lines.wait()
            self._lines = None
