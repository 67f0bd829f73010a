"""A client of images/bulk.c."""

import contextlib
import socket
import time

from tests.system.guest import MAC

PORT = 5201
PERIOD = 65521
BLOCK = 4 * PERIOD  # about a quarter of a megabyte: what is sent and compared at a time


def _period():
    x, out = 1, bytearray()
    for _ in range(PERIOD):
        x = (x * 1103515245 + 12345) & 0xffffffff
        out.append(x >> 16 & 0xff)
    return bytes(out)


_pattern = []


def pattern():
    """BLOCK octets; the stream repeats them."""
    if not _pattern:
        _pattern.append(_period() * (BLOCK // PERIOD))
    return _pattern[0]


def link_local(mac=MAC):
    """What the guest's first IPv6 address is."""
    octets = [int(o, 16) for o in mac.split(":")]
    octets[0] ^= 2
    octets[3:3] = [0xff, 0xfe]
    return "fe80::" + ":".join(f"{a:02x}{b:02x}" for a, b in zip(octets[::2], octets[1::2]))


def enable_ipv6(guest):
    """An address under which request() and the like reach the guest over IPv6, once they can."""
    with guest.inside():
        guest.namespace.with_ipv6("tap0")
    address = f"{link_local()}%tap0"
    deadline = time.monotonic() + 30
    while True:
        try:
            with request(guest, "source", 0, 0, address=address, timeout=5):
                return address
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@contextlib.contextmanager
def request(guest, what, count, piece, address=None, timeout=120):
    with guest.inside():
        s = socket.create_connection((address or guest.address[0], PORT), timeout)
    with s:
        s.sendall(b"%s %d %d\n" % (what.encode(), count, piece))
        yield s


def give(guest, what, count, piece=128 << 10, **how):
    """Sends to a `sink` or a `check`; what the guest says when it has it all."""
    data = memoryview(pattern())
    with request(guest, what, count, piece, **how) as s:
        left = count
        while left:
            n = min(left, BLOCK)
            s.sendall(data[:n])
            left -= n
        return s.makefile().readline().strip()


def take(guest, what, count, piece=128 << 10, slow=None, **how):
    """Reads from a `source` or a `pattern` (which it compares); octets received in order."""
    expected = memoryview(pattern())
    buffer = memoryview(bytearray(BLOCK))
    done = 0
    with request(guest, what, count, piece, **how) as s:
        while n := s.recv_into(buffer, BLOCK - done % BLOCK):
            if what == "pattern":
                at = done % BLOCK
                assert buffer[:n] == expected[at:at + n], f"wrong octets behind {done}"
            done += n
            if slow:
                slow(done)
    return done
