"""What link_image.py asks of relocatable objects and archives (System V ABI, chapter 4; ar(5))."""

import struct
from dataclasses import dataclass

SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS = 1, 2, 4, 0x400
SHT_SYMTAB, SHT_NOBITS = 2, 8
SHN_UNDEF = 0
STB_LOCAL = 0


@dataclass
class Section:
    name: str
    kind: int
    flags: int


def _string(table, at):
    return table[at:table.index(b"\0", at)].decode(errors="surrogateescape")


class Object:
    """`sections`, and `defined`: the names of symbols that other objects see."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        if data[:5] != b"\x7fELF\2":
            raise ValueError("it is not an object file of this processor")
        offset, = struct.unpack_from("<Q", data, 0x28)
        size, count, names_index = struct.unpack_from("<HHH", data, 0x3A)
        if count == 0 and offset:  # more than fit the header: the first one says how many
            count, names_index = struct.unpack_from("<QI", data, offset + 0x20)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]

        def content(index):
            return data[headers[index][4]:headers[index][4] + headers[index][5]]

        names = content(names_index)
        self.sections = [Section(_string(names, h[0]), h[1], h[2]) for h in headers]
        self.defined = set()
        for i, header in enumerate(headers):
            if header[1] != SHT_SYMTAB:
                continue
            strings, table = content(header[6]), content(i)
            for name, info, _, index, _, _ in struct.iter_unpack("<IBBHQQ", table):
                if info >> 4 != STB_LOCAL and index != SHN_UNDEF:
                    self.defined.add(_string(strings, name))


def archive_symbols(path):
    """The names that an archive's index has: what its members define for others."""
    with open(path, "rb") as f:
        if f.read(8) != b"!<arch>\n":
            raise ValueError(f"{path} is not an archive")
        header = f.read(60)
        index = f.read(int(header[48:58]))
    if header[:16].rstrip() != b"/":
        raise ValueError(f"{path} has no index: ranlib makes one")
    count, = struct.unpack_from(">I", index)
    return set(index[4 + 4 * count:].decode(errors="surrogateescape").split("\0")[:count])
