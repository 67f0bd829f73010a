"""Tens of thousands of connections to an echo server in 512 MB, held by raw packets from addresses
of our own (a socket for each would be the host's limit, not the guest's)."""

import contextlib
import struct
import time

import pytest

from tests.system.raw_tcp import ACK, PSH, RST, SYN, Peer, Wire

MOST_BYTES = 1024  # of kernel memory for an idle connection


class Crowd:
    """Connections to the guest, opened in batches and then kept."""

    def __init__(self, wire, port):
        self.wire, self.port = wire, port
        self.sequence = {}  # (address, port) -> what comes next from the guest

    def open(self, count, batch=200):
        names = [(f"172.44.0.{201 + n // 15_000}", 2000 + n % 15_000) for n in range(count)]
        for at in range(0, count, batch):
            missing = set(names[at:at + batch])
            for _ in range(20):
                for address, sport in missing:
                    self.wire.send(address, sport, self.port, sport, 0, SYN)
                until = time.monotonic() + 3
                while missing and (left := until - time.monotonic()) > 0:
                    s = self.wire.receive(left, lambda s: s.flags == SYN | ACK)
                    if s and (s.target, s.dport) in missing:
                        missing.remove((s.target, s.dport))
                        self.sequence[s.target, s.dport] = s.seq + 1 & 0xFFFFFFFF
                        self.wire.send(s.target, s.dport, self.port, s.dport + 1, s.seq + 1, ACK)
                if not missing:
                    break
            assert not missing, f"{len(missing)} of {batch} connections did not open"

    def echo(self, names, batch=200):
        """Says something on each and waits for it to come back."""
        names = list(names)
        for at in range(0, len(names), batch):
            waiting = set(names[at:at + batch])
            for _ in range(20):
                for address, sport in waiting:
                    self.wire.send(address, sport, self.port, sport + 1,
                                   self.sequence[address, sport], ACK | PSH,
                                   struct.pack("!H", sport))
                until = time.monotonic() + 3
                while waiting and (left := until - time.monotonic()) > 0:
                    s = self.wire.receive(left, lambda s: s.data)
                    if s and (s.target, s.dport) in waiting:
                        assert s.data == struct.pack("!H", s.dport)
                        waiting.remove((s.target, s.dport))
                        self.sequence[s.target, s.dport] = s.seq + 2 & 0xFFFFFFFF
                        self.wire.send(s.target, s.dport, self.port, s.dport + 3, s.seq + 2, ACK)
                if not waiting:
                    break
            assert not waiting, f"no echo on {len(waiting)} of {batch} connections"

    def close(self):
        for (address, sport), seq in self.sequence.items():
            for after in (1, 3):  # with or without having spoken
                self.wire.send(address, sport, self.port, sport + after, seq, RST | ACK)
            if sport % 100 == 0:
                self.wire.receive(0.02)


def free_memory(guest, connections=None):
    """Free bytes, and connections without the one that asks; waits until there are so many."""
    deadline = time.monotonic() + 60
    with guest.inside(), contextlib.closing(guest.connect(60)) as s:
        while True:
            s.sendall(b"memory\n")
            free, open_now = map(int, s.recv(100).split())
            if connections is None or open_now - 1 == connections or time.monotonic() > deadline:
                return free, open_now - 1
            time.sleep(0.5)


def hold(boot, count):
    guest = boot("system-echo", "tap", memory=512, limit=900)
    guest.address = (guest.address[0], 7)
    guest.wait_console("echo: listening")
    with contextlib.closing(Wire(guest)) as wire:
        # So that the receive ring has its full length and the tables exist.
        warm = Crowd(wire, 7)
        warm.open(1000)
        warm.close()
        before, _ = free_memory(guest, 0)
        crowd = Crowd(wire, 7)
        crowd.open(count)
        during, open_now = free_memory(guest, count)
        assert open_now == count
        each = (before - during) / count
        print(f"{count} connections, {each:.0f} bytes each")
        assert each <= MOST_BYTES
        time.sleep(1)  # delayed acknowledgements have gone
        assert guest.cpu_share(2) < 0.1, "idle connections cost time"
        crowd.echo(list(crowd.sequence)[::max(1, count // 2000)])
        crowd.close()
        after, open_now = free_memory(guest, 0)
        assert open_now == 0
        # What stays: free lists, the descriptor table.
        assert before - after < 64 * count + (1 << 20), f"{before - after} bytes did not come back"


def open_and_close(boot, count):
    """Connections one after the other: afterwards as much memory is free as before."""
    guest = boot("system-echo", "tap", memory=64, limit=3600)
    guest.address = (guest.address[0], 7)
    guest.wait_console("echo: listening")

    def cycles(n):
        for _ in range(n):
            with guest.connect(60) as s:
                s.sendall(b"hello")
                assert s.recv(100) == b"hello"

    cycles(300)
    before, _ = free_memory(guest, 0)
    cycles(count)
    after, _ = free_memory(guest, 0)
    assert before - after < 128 * 1024, f"{before - after} bytes did not come back"


def test_two_thousand_one_after_the_other(boot):
    open_and_close(boot, 2_000)


@pytest.mark.full
def test_a_hundred_thousand_one_after_the_other(boot):
    open_and_close(boot, 100_000)


def test_ten_thousand_connections(boot):
    hold(boot, 10_000)


@pytest.mark.full
def test_fifty_thousand_connections(boot):
    hold(boot, 50_000)
