"""Booted again and again while clients already knock, SYNs from the first millisecond: every time it
must answer. (A library OS that starts its receive path too early corrupts its heap here.)"""

import contextlib
import select
import socket
import threading
import time

import pytest


class Knockers(threading.Thread):
    """Opens connections to the guest without pause, a new SYN every millisecond, says half a request
    on those that come about, and goes."""

    def __init__(self, guest):
        super().__init__(daemon=True)
        self.guest, self.quiet, self.syns = guest, threading.Event(), 0
        self.start()

    def run(self):
        waiting, asked = [], []
        with self.guest.inside():
            while not self.quiet.is_set():
                s = socket.socket()
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError, OSError):
                    s.connect(self.guest.address)
                self.syns += 1
                waiting.append(s)
                for s in select.select([], waiting, [], 0)[1]:
                    waiting.remove(s)
                    asked.append(s)
                    with contextlib.suppress(OSError):
                        s.send(b"*2\r\n$3\r\nGET\r\n$1\r\n")
                for sockets in (waiting, asked):
                    while len(sockets) > 100:
                        sockets.pop(0).close()
                time.sleep(0.001)
        for s in waiting + asked:
            s.close()


def boot_under_fire(boot, times):
    syns = 0
    for n in range(times):
        guest = boot("redis", "tap", limit=60)
        knockers = Knockers(guest)
        try:
            guest.wait_redis(30)
            with guest.redis() as redis:
                assert redis.call("SET", "k", "v") == "OK"
                assert redis.call("GET", "k") == "v"
        except (AssertionError, OSError) as error:
            raise AssertionError(f"boot {n + 1}: {error}") from error
        finally:
            knockers.quiet.set()
            knockers.join()
            syns += knockers.syns
            guest.kill()
    assert syns > 20 * times, "hardly anybody knocked"


def test_twenty_boots(boot):
    boot_under_fire(boot, 20)


@pytest.mark.full
def test_two_hundred_boots(boot):
    boot_under_fire(boot, 200)
