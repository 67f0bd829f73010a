#!/usr/bin/env python3
"""Packs a folder into the read-only root of an image (format: core/fs/packed_format.hh).

The same files give the same bytes: no times, no owners, names sorted. The files named behind hold
parts of memory to be expanded (memory_expressions.py).
Usage: pack_root.py FOLDER BLOB [PATH-IN-FOLDER...]
"""

import os
import stat
import struct
import sys
import zlib

import memory_expressions

MAGIC, VERSION = b"OBLKROOT", 1
HEADER = struct.Struct("<8sIIQIIII")
NODE = struct.Struct("<IHHQQQ")
PAGE = 4096
# Below this a compressed file saves less than the page it is read from.
WORTH_COMPRESSING = 8 * PAGE
# In a file's mode: it holds expressions (core/fs/packed_format.hh).
HAS_EXPRESSIONS = stat.S_ISVTX


class Node:
    def __init__(self, path, name, expand):
        self.name = name
        self.children = []
        self.content = b""
        self.stored = b""
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        # Git keeps the executable bit and nothing else, so neither do we.
        executable = status.st_mode & 0o100
        if kind == stat.S_IFDIR:
            self.mode = stat.S_IFDIR | 0o755
            names = sorted(os.listdir(path), key=os.fsencode)
            self.children = [Node(os.path.join(path, n), os.fsencode(n), expand) for n in names]
        elif kind == stat.S_IFLNK:
            self.mode = stat.S_IFLNK | 0o777
            self.content = self.stored = os.fsencode(os.readlink(path))
        elif kind == stat.S_IFREG:
            self.mode = stat.S_IFREG | (0o755 if executable else 0o644)
            with open(path, "rb") as f:
                self.content = self.stored = f.read()
            if path in expand:
                expand.remove(path)
                self.mode |= HAS_EXPRESSIONS
                text = memory_expressions.with_room(self.content.decode(), path)
                self.content = self.stored = text.encode()
            elif len(self.content) >= WORTH_COMPRESSING:
                small = zlib.compress(self.content, 9)
                if len(small) < len(self.content) * 3 // 4:
                    self.stored = small
        else:
            sys.exit(f"pack_root: {path} is neither a file, a folder nor a symbolic link")


def breadth_first(root):
    nodes = [root]
    for node in nodes:  # grows while it is walked
        node.first_child = len(nodes)
        nodes += node.children
    return nodes


def pack(folder, expand=()):
    missing = {os.path.join(folder, path) for path in expand}
    nodes = breadth_first(Node(folder, b"", missing))
    if missing:
        sys.exit(f"pack_root: EXPAND names what is not there: {' '.join(sorted(missing))}")
    names = b"".join(node.name for node in nodes)
    nodes_offset = HEADER.size
    names_offset = nodes_offset + NODE.size * len(nodes)
    at = names_offset + len(names)
    table, data, name_at = [], [], 0
    for node in nodes:
        if stat.S_ISDIR(node.mode):
            offset, size, stored = node.first_child, len(node.children), 0
        else:
            padding = -at % (PAGE if len(node.stored) > PAGE else 8)
            data.append(bytes(padding) + node.stored)
            offset, size, stored = at + padding, len(node.content), len(node.stored)
            at = offset + stored
        table.append(NODE.pack(name_at, len(node.name), node.mode, offset, size, stored))
        name_at += len(node.name)
    header = HEADER.pack(MAGIC, VERSION, len(nodes), at, nodes_offset, names_offset, len(names), 0)
    return b"".join([header, *table, names, *data])


def files(blob):
    """(mode, size, stored size) of the files in a blob made by pack()."""
    _, _, count, _, nodes_offset, *_ = HEADER.unpack_from(blob)
    for i in range(count):
        _, _, mode, _, size, stored = NODE.unpack_from(blob, nodes_offset + i * NODE.size)
        if stat.S_ISREG(mode):
            yield mode, size, stored


def has_compressed(blob):
    """True if any file needs inflate."""
    return any(stored != size for _, size, stored in files(blob))


def has_expressions(blob):
    """True if any file has parts of memory to be expanded."""
    return any(mode & HAS_EXPRESSIONS for mode, _, _ in files(blob))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    blob = pack(sys.argv[1], sys.argv[3:])
    with open(sys.argv[2] + ".new", "wb") as f:
        f.write(blob)
    os.replace(sys.argv[2] + ".new", sys.argv[2])


if __name__ == "__main__":
    main()
