"""Clients of an enemy, by the thousand: they connect in the regular way and then send half a request, an
octet each second, nothing, or much and read nothing. A good client that was there before is served
meanwhile, one that comes afterwards is too, and memory returns. `-s` prints the table that
docs/security.md holds."""

import contextlib
import resource
import select
import socket
import struct
import time

import pytest

from tests.system import attack
from tests.system.conftest import skip_without_tap

PER_SECOND = 600  # connections at most; an idle one takes five frames
FRAMES = 3000  # hostile ones a second at most, acknowledgements included
PATIENCE = 60  # seconds for all of them to come
VALUE = 100_000  # octets that one request for redis asks for
REQUESTS = {"httpd": b"GET / HTTP/1.1\r\nHost: enemy\r\n\r\n", "redis": b"GET large\r\n"}
# What the application itself spends on a request is not what is tested: for redis, one of these is
# 100 kB to copy.
FEW, MANY = {"httpd": 40, "redis": 2}, {"httpd": 4000, "redis": 4}
BEGUN = {"httpd": b"GET / HTTP/1.1\r\nHost: en", "redis": b"*2\r\n$3\r\nGET\r\n$5\r\nla"}
# What each kind sends at once, and each second from then on; how large its receive buffer is.
KINDS = {
    "idle": (lambda app: b"", None, None),
    "half_sent": (lambda app: BEGUN[app], None, None),
    "slow": (lambda app: BEGUN[app][:4], b"a", None),
    "zero_window": (lambda app: REQUESTS[app] * FEW[app], None, 2048),
    "never_reads": (lambda app: REQUESTS[app] * MANY[app], None, 65536),
}


def frames_to_guest():
    with open("/proc/thread-self/net/dev") as f:
        tap = next(line for line in f if line.strip().startswith("tap0:"))
    return int(tap.split()[10])  # transmitted packets


class Crowd:
    """`count` clients of one kind. serve() is to be called all the time."""

    def __init__(self, machine, kind, count):
        self.machine, self.count = machine, count
        begin, self.each_second, self.buffer = KINDS[kind]
        self.begin = begin(machine.app)
        self.poll = select.epoll()
        self.pending, self.live = {}, {}
        self.tried = self.ended = 0
        self.started = self.last_second = time.monotonic()
        self.complete = None  # when the last began
        self.frames_before = frames_to_guest()
        self.rate = 0

    def connect_one(self):
        self.tried += 1
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        with contextlib.suppress(BlockingIOError):
            s.connect(self.machine.guest.address)
        self.pending[s.fileno()] = s
        self.poll.register(s, select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR)

    def end(self, fd):
        s = self.pending.pop(fd, None) or self.live.pop(fd)
        self.poll.unregister(fd)
        s.close()
        self.ended += 1

    def connected(self, fd):
        s = self.pending.pop(fd)
        self.live[fd] = s
        with contextlib.suppress(BlockingIOError):
            s.send(self.begin)
        self.poll.modify(fd, select.EPOLLRDHUP)  # the answer is not for us

    def look(self):
        for fd, events in self.poll.poll(0.005):
            try:
                if events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                    self.end(fd)
                elif fd in self.pending:
                    self.connected(fd)
            except OSError:
                self.end(fd)

    def second(self):
        for fd, s in list(self.live.items()):
            try:
                s.send(self.each_second)
            except BlockingIOError:
                pass
            except OSError:
                self.end(fd)

    def serve(self, seconds):
        """True while some are still to connect, or for so many seconds after the last did."""
        now = time.monotonic()
        elapsed = now - self.started
        frames = frames_to_guest() - self.frames_before
        while self.tried < min(self.count, elapsed * PER_SECOND, elapsed * FRAMES - frames + self.tried):
            self.connect_one()
            frames += 3  # that far it comes before the next look
        self.look()
        if self.each_second and now - self.last_second > 1:
            self.last_second = now
            self.second()
        if self.complete is None and (self.tried == self.count or elapsed > PATIENCE):
            self.complete, self.rate = now, round(frames / elapsed)
        return self.complete is None or now - self.complete < seconds

    def leave(self):
        held = len(self.live)
        for s in [*self.live.values(), *self.pending.values()]:
            s.close()
        self.poll.close()
        return held


@pytest.fixture
def most_clients():
    """How many one process may have here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def machine(boot, request):
    """(application, MB), after it has served some clients: pools and tables are there."""
    skip_without_tap()
    namespace = attack.network()
    made = attack.Machine(boot, namespace, *request.param)
    if made.app == "redis":
        with made.connect() as s:
            s.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$%d\r\n%s\r\n" % (VALUE, b"v" * VALUE))
            assert s.recv(100) == b"+OK\r\n"
    attack.warm_up(made)
    crowd(made, "half_sent", 100, 0.5)
    yield made
    made.close()
    made.guest.kill()
    namespace.close()


def crowd(machine, kind, count, seconds):
    """(how many stayed to the end, free memory then, what it was)"""
    with machine.guest.inside():
        hostile = Crowd(machine, kind, count)
        while hostile.serve(seconds):
            pass
        free = machine.free_memory()
        return hostile.leave(), free, f"{hostile.tried} {kind} ({hostile.rate} frames/s)"


def withstands(machine, kind, count, seconds):
    before = machine.free_memory()
    good = attack.GoodClient(machine, comes=False)
    stayed, during, what = crowd(machine, kind, count, seconds)
    good.stop()
    good.check(what)
    lost = machine.memory_returns(before, patience=30)
    afterwards = attack.GoodClient(machine)
    time.sleep(0.3)
    afterwards.stop()
    afterwards.check(f"after {what}")
    worst = ", ".join(f"{k} {1000 * v:.0f} ms" for k, v in good.worst.items())
    print(f"{machine.app} {machine.bytes >> 20} MB | {what}, {stayed} stayed | {worst} | free "
          f"{before >> 10} kB, during {during >> 10}, then {(before - lost) >> 10}")
    assert lost <= attack.MOST_LOST * machine.bytes, f"{kind}: {lost} bytes did not come back"


@pytest.mark.parametrize("machine,kind,count", [
    (("httpd", 32), "half_sent", 1500),
    (("redis", 32), "never_reads", 300),
], indirect=["machine"])
def test_short(machine, most_clients, kind, count):
    withstands(machine, kind, min(count, most_clients), 1)


@pytest.mark.full
@pytest.mark.parametrize("kind,count", [("idle", 20000), ("half_sent", 10000), ("slow", 3000),
                                        ("zero_window", 3000), ("never_reads", 3000)])
@pytest.mark.parametrize("machine", [(a, m) for a in ("redis", "httpd") for m in (32, 64, 512)],
                         indirect=True, ids=lambda m: f"{m[0]}-{m[1]}")
def test_long(machine, most_clients, kind, count):
    withstands(machine, kind, min(count, most_clients), 10)
