#!/usr/bin/env python3
"""Takes the kernel proper, an ELF file with a PVH entry, out of a Linux bzImage:
extract_vmlinux.py BZIMAGE OUT. The compressed part is found by its format's magic number, as
Linux's own scripts/extract-vmlinux does."""

import bz2
import lzma
import subprocess
import sys
import zlib


class Lz4:
    """By the command of that name, which complains about what follows the data and goes on."""

    @staticmethod
    def decompress(data):
        return subprocess.run(["lz4", "-dc"], input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout


FORMATS = (
    (b"\x1f\x8b\x08", lambda: zlib.decompressobj(16 + zlib.MAX_WBITS)),
    (b"\xfd7zXZ\0", lzma.LZMADecompressor),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\x02!L\x18", Lz4),
    (b"\x5d\0\0\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE)),
)


def candidates(image):
    for magic, decompressor in FORMATS:
        at = image.find(magic)
        while at >= 0:
            try:
                yield decompressor().decompress(image[at:])
            except (zlib.error, lzma.LZMAError, OSError):
                pass
            at = image.find(magic, at + 1)


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as f:
        image = f.read()
    for kernel in candidates(image):
        if kernel.startswith(b"\x7fELF"):
            with open(target, "wb") as f:
                f.write(kernel)
            return
    sys.exit(f"{source}: no compressed kernel found in it")


if __name__ == "__main__":
    main()
