"""Connections that the guest has closed itself: their records are bounded by memory."""

import contextlib
import socket
import time

import pytest

from tests.system.guest import GUEST

ECHO, COMMANDS = 7, 5000
MEMORY = 8  # MB; one record for each 16 kB
LIMIT = MEMORY * 1024 // 16


def tell(guest, text):
    """A command to the guest's application (images/net_peer.c); its answer. Asked again, because the
    answer is lost when the ends of many connections have just filled the device's ring."""
    with guest.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect((GUEST, COMMANDS))
        for _ in range(40):
            s.send(text.encode())
            with contextlib.suppress(TimeoutError):
                return int(s.recv(100))
    raise AssertionError(f"no answer to {text!r}")


def test_records_are_bounded_by_memory(boot):
    guest = boot("system-net_peer", "tap", memory=MEMORY)
    guest.wait_console("ready")
    counts = []
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            with guest.inside():
                clients = [stack.enter_context(socket.create_connection((GUEST, ECHO), 10))
                           for _ in range(240)]
            deadline = time.monotonic() + 10
            while tell(guest, "count") < len(clients) and time.monotonic() < deadline:
                time.sleep(0.02)
            tell(guest, "close")
            for client in clients:
                assert client.recv(1) == b""
        counts.append(tell(guest, "time-wait"))
    assert counts[0] > 200, "the guest's connections do not end in TIME_WAIT"
    assert max(counts) <= LIMIT, counts
    # The image takes some of the memory.
    assert counts[-1] > LIMIT * 0.6, "records go too early"


@pytest.mark.full
def test_httpd_in_8_MB_closes_by_the_thousand(boot):
    """More records than memory has room for, were they not bounded."""
    guest = boot("httpd", "tap", memory=MEMORY, limit=600)
    guest.wait_console("httpd: serving")
    with guest.inside():
        for n in range(60_000):
            with socket.create_connection((GUEST, 80), 10) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while s.recv(65536):
                    pass
            if n % 5000 == 0:
                assert guest.qemu.poll() is None, guest.tail()
