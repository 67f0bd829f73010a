#!/usr/bin/env python3
"""Packs a folder into the read-only root of an image (format: core/fs/packed_format.hh).

The same files give the same bytes: names sorted, no owners, the time of the last change as the host
has it, but none later than SOURCE_DATE_EPOCH if that is set (reproducible-builds.org). The files named
behind hold parts of memory to be expanded (memory_expressions.py).

A build runs this each time: names may hold what no build tool takes in its lists. Where nothing has
changed since BLOB was written (BLOB.look says what was there), BLOB is left as it is.
Usage: pack_root.py FOLDER BLOB [PATH-IN-FOLDER...]
"""

import os
import stat
import struct
import sys
import zlib

import memory_expressions

MAGIC, VERSION = b"OBLKROOT", 2
HEADER = struct.Struct("<8sIIQIIII")
NODE = struct.Struct("<IHHQQQq")
PAGE = 4096
# Below this a compressed file saves less than the page it is read from.
WORTH_COMPRESSING = 8 * PAGE
# In a file's mode: it holds expressions (core/fs/packed_format.hh).
HAS_EXPRESSIONS = stat.S_ISVTX
LATEST = 1 << 34  # what core/fs/packed_root.cc takes for a time


def shown(path):
    """A path for a message: on one line, whatever its bytes are."""
    return repr(os.fsdecode(path))[1:-1]


def latest_time():
    """Seconds since 1970 that no time in the blob is beyond."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return LATEST
    if not epoch.isascii() or not epoch.isdigit():
        sys.exit(f"pack_root: SOURCE_DATE_EPOCH is seconds since 1970, not {epoch!r}")
    return min(int(epoch), LATEST)


class Node:
    def __init__(self, path, name, expand, latest):
        self.name = name
        self.children = []
        self.content = b""
        self.stored = b""
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        self.modified = max(0, min(status.st_mtime_ns // 10**9, latest))
        # Git keeps the executable bit and nothing else, so neither do we.
        executable = status.st_mode & 0o100
        if kind == stat.S_IFDIR:
            self.mode = stat.S_IFDIR | 0o755
            names = sorted(os.listdir(path), key=os.fsencode)
            self.children = [Node(os.path.join(path, n), os.fsencode(n), expand, latest)
                             for n in names]
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
                try:
                    text = self.content.decode()
                except UnicodeDecodeError:
                    sys.exit(f"pack_root: {shown(path)}: EXPAND is for text, and this is not UTF-8")
                text = memory_expressions.with_room(text, path)
                self.content = self.stored = text.encode()
            elif len(self.content) >= WORTH_COMPRESSING:
                small = zlib.compress(self.content, 9)
                if len(small) < len(self.content) * 3 // 4:
                    self.stored = small
        else:
            sys.exit(f"pack_root: {shown(path)} is neither a file, a folder nor a symbolic link")


def breadth_first(root):
    nodes = [root]
    for node in nodes:  # grows while it is walked
        node.first_child = len(nodes)
        nodes += node.children
    return nodes


def pack(folder, expand=()):
    missing = {os.path.join(folder, path) for path in expand}
    nodes = breadth_first(Node(folder, b"", missing, latest_time()))
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
        table.append(NODE.pack(name_at, len(node.name), node.mode, offset, size, stored, node.modified))
        name_at += len(node.name)
    header = HEADER.pack(MAGIC, VERSION, len(nodes), at, nodes_offset, names_offset, len(names), 0)
    return b"".join([header, *table, names, *data])


def files(blob):
    """(mode, size, stored size) of the files in a blob made by pack()."""
    _, _, count, _, nodes_offset, *_ = HEADER.unpack_from(blob)
    for i in range(count):
        _, _, mode, _, size, stored, _ = NODE.unpack_from(blob, nodes_offset + i * NODE.size)
        if stat.S_ISREG(mode):
            yield mode, size, stored


def has_compressed(blob):
    """True if any file needs inflate."""
    return any(stored != size for _, size, stored in files(blob))


def has_expressions(blob):
    """True if any file has parts of memory to be expanded."""
    return any(mode & HAS_EXPRESSIONS for mode, _, _ in files(blob))


def look(folder, expand):
    """What the blob depends on, without reading the files."""
    seen = [repr((sorted(expand), latest_time()))]
    for script in (__file__, memory_expressions.__file__):
        seen.append(repr(os.stat(script).st_mtime_ns))

    def visit(path):
        status = os.lstat(path)
        seen.append(repr((os.path.relpath(path, folder), status.st_mode, status.st_size, status.st_mtime_ns,
                          os.readlink(path) if stat.S_ISLNK(status.st_mode) else None)))
        if stat.S_ISDIR(status.st_mode):
            for name in sorted(os.listdir(path), key=os.fsencode):
                visit(os.path.join(path, name))

    visit(folder)
    return "\n".join(seen).encode(errors="surrogateescape")


def write(path, content):
    with open(path + ".new", "wb") as f:
        f.write(content)
    os.replace(path + ".new", path)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder, blob, *expand = sys.argv[1:]
    sys.setrecursionlimit(10000)  # a path has at most 2,048 folders
    note = blob + ".look"
    try:
        seen = look(folder, expand)
        if os.path.exists(blob) and os.path.exists(note):
            with open(note, "rb") as f:
                if f.read() == seen:
                    return
        write(blob, pack(folder, expand))
        write(note, seen)
    except OSError as error:
        sys.exit(f"pack_root: {shown(error.filename or folder)}: {error.strerror}")


if __name__ == "__main__":
    main()
