"""Clients that make the kernel hold memory: the machine goes on, and serves those who behave. Thousands
of them, in more memory too: test_hostile_clients.py."""

import contextlib
import http.client
import resource
import socket
import threading
import time

import pytest

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONGEST_MS = 900  # that a good client may wait


class GoodClient(threading.Thread):
    """Asks again and again, over one connection that stays and, with `comes`, over a new one too."""

    def __init__(self, guest, comes=True):
        super().__init__(daemon=True)
        self.comes = comes
        self.guest, self.kept, self.fresh, self.failures = guest, [], [], []
        self.ended = threading.Event()
        self.start()

    def run(self):
        with self.guest.inside():
            stays = http.client.HTTPConnection(*self.guest.address, timeout=20)
            while not self.ended.wait(0.05):
                self._ask(stays, self.kept)
                if not self.comes:
                    continue
                comes = http.client.HTTPConnection(*self.guest.address, timeout=20)
                self._ask(comes, self.fresh)
                comes.close()

    def _ask(self, connection, times):
        begun = time.monotonic()
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert b"It works" in answer.read()
            times.append((time.monotonic() - begun) * 1000)
        except (OSError, http.client.HTTPException) as e:
            self.failures.append(repr(e))

    def check(self):
        self.ended.set()
        self.join(60)
        assert not self.failures, self.failures[:5]
        # The slowest of all may be the host's; a kernel that is slow is slow more than once.
        for times in (self.kept, self.fresh) if self.comes else (self.kept,):
            assert len(times) > 5
            assert sorted(times)[-2] < LONGEST_MS, sorted(times)[-5:]


def never_reads(guest, source=None):
    """A client with the smallest window that sends requests for as long as they are taken."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.settimeout(10)
    s.connect(guest.address)
    s.setblocking(False)
    with contextlib.suppress(BlockingIOError, OSError):
        for _ in range(4):
            s.send(REQUEST * 2000)
    return s


def serve(boot, memory):
    guest = boot("httpd", "tap", memory=memory, limit=600)
    guest.address = (guest.address[0], 80)
    guest.wait_console("httpd: serving")
    return guest


@pytest.mark.parametrize("memory,clients", [
    pytest.param(32, 300),
    pytest.param(32, 2000, marks=pytest.mark.full),
])
def test_clients_that_never_read(boot, memory, clients):
    guest = serve(boot, memory)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Of more clients than the server takes, a new one waits until others are reset.
    good = GoodClient(guest, comes=clients < 1000)
    try:
        with guest.inside(), contextlib.ExitStack() as held:
            for _ in range(clients):
                with contextlib.suppress(OSError):  # refused, while memory is short
                    held.callback(never_reads(guest).close)
            time.sleep(1)
            good.check()
    finally:
        good.ended.set()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    afterwards = GoodClient(guest)
    time.sleep(1)
    afterwards.check()
    guest.interrupt()
    assert guest.wait_end(20) == 0, guest.tail()
