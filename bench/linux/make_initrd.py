#!/usr/bin/env python3
"""Packs files into an initial RAM disk for Linux: make_initrd.py OUT PATH=FILE... ; PATH/ is an
empty folder. The "newc" format of cpio, uncompressed: nothing is faster to unpack. The devices that
static programs expect are always there, which takes no rights this way."""

import os
import stat
import sys

DEVICES = {"dev/console": (5, 1), "dev/null": (1, 3), "dev/zero": (1, 5), "dev/random": (1, 8),
           "dev/urandom": (1, 9)}


class Archive:
    def __init__(self):
        self.out = bytearray()
        self.inode = 0
        self.folders = set()

    def entry(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self.out += b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        self.pad()
        self.out += data
        self.pad()

    def pad(self):
        self.out += bytes(-len(self.out) % 4)

    def folder(self, name):
        if name and name not in self.folders:
            self.folder(os.path.dirname(name))
            self.folders.add(name)
            self.entry(name, stat.S_IFDIR | 0o755)

    def device(self, name, number):
        self.folder(os.path.dirname(name))
        self.entry(name, stat.S_IFCHR | 0o666, device=number)

    def file(self, name, source):
        self.folder(os.path.dirname(name))
        with open(source, "rb") as f:
            self.entry(name, stat.S_IFREG | 0o755, f.read())

    def end(self):
        self.entry("TRAILER!!!", 0)
        self.out += bytes(-len(self.out) % 512)
        return self.out


def main():
    target, *files = sys.argv[1:]
    archive = Archive()
    for name, number in DEVICES.items():
        archive.device(name, number)
    for word in files:
        name, _, source = word.partition("=")
        if name.endswith("/"):
            archive.folder(name.rstrip("/"))
        else:
            archive.file(name, source)
    with open(target + ".new", "wb") as f:
        f.write(archive.end())
    os.replace(target + ".new", target)


if __name__ == "__main__":
    main()
