"""A host that does not take the guest's frames for a while: the device's ring is full, and what is
in nobody's queue (answers to SYNs, resets) waits in line with the rest. A lost answer costs a new
client a second; one that keeps no state, as those beyond the queue of half-open connections, never
comes at all."""

import contextlib
import socket
import struct
import time

import pytest

from tests.system.attack_frames import (ENEMY_MAC, GUEST_MAC, LINK_LOCAL, ethernet, ip4,
                                        message6, packed, tcp4, tcp6)
from tests.system.guest import GUEST, HOST, STATIC
from tests.system.raw_tcp import ACK, RST, SYN

CLIENTS = 2000
OURS6 = "fe80::bad1"
PATIENCE = 10  # seconds


class Wire:
    """The other end of QEMU's `stream` network: each frame with its length in front."""

    def __init__(self, connection):
        self.connection = connection
        self.connection.settimeout(PATIENCE)
        self.received = b""

    def send(self, frames):
        self.connection.sendall(b"".join(struct.pack("!I", len(f)) + f for f in frames))

    def frames(self):
        while True:
            while len(self.received) < 4 or \
                    len(self.received) < 4 + struct.unpack("!I", self.received[:4])[0]:
                piece = self.connection.recv(1 << 16)
                if not piece:
                    return
                self.received += piece
            length = struct.unpack("!I", self.received[:4])[0]
            frame, self.received = self.received[4:4 + length], self.received[4 + length:]
            yield frame


def arp(operation, target):
    return ethernet(struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + ENEMY_MAC + packed(HOST) +
                    target + packed(GUEST), 0x0806)


def is_icmp6(frame, kind):
    return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == kind


def teach_our_addresses(wire):
    """The guest learns an address from being asked by it: over IPv6 as soon as it may use its own."""
    wire.send([arp(1, bytes(6))])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        wire.send([message6(135, 0, bytes(4) + packed(LINK_LOCAL) + b"\1\1" + ENEMY_MAC, OURS6,
                            LINK_LOCAL)])
        with contextlib.suppress(TimeoutError):
            wire.connection.settimeout(0.2)
            if any(is_icmp6(frame, 136) and frame[38:54] == packed(OURS6) for frame in wire.frames()):
                wire.connection.settimeout(PATIENCE)
                return
    raise AssertionError("no answer to a neighbour solicitation")


@pytest.fixture(scope="module")
def wire(boot_once, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("wire") / "socket")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(PATIENCE)
        guest = boot_once("redis", None, options=STATIC, extra=[
            "-netdev", f"stream,id=n,server=off,addr.type=unix,addr.path={path}",
            "-device", "virtio-net-device,netdev=n,mac=52:54:00:0b:1a:c0"])
        connection, _ = listener.accept()
    with connection:
        guest.wait_console("Ready to accept connections", PATIENCE)
        w = Wire(connection)
        teach_our_addresses(w)
        yield w


def answer_neighbour(wire, frame):
    """What the guest asks about our addresses."""
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1":
        wire.send([arp(2, GUEST_MAC)])
    elif is_icmp6(frame, 135):
        wire.send([message6(136, 0, b"\x60\0\0\0" + packed(OURS6) + b"\2\1" + ENEMY_MAC, OURS6,
                            LINK_LOCAL)])


def ports_answered(wire, family, port, first, flags):
    """Sends a SYN from each of many ports while nobody reads the answers, then reads them."""
    wire.send([tcp4(HOST, first + n, port, SYN, seq=n) if family == 4 else
               tcp6(OURS6, first + n, port, SYN, seq=n, target=LINK_LOCAL) for n in range(CLIENTS)])
    time.sleep(1)  # the guest answers in a tenth of that; then its ring is full, and stays so
    header, protocol = (34, 23) if family == 4 else (54, 20)
    answered = set()
    with contextlib.suppress(TimeoutError):
        for frame in wire.frames():
            if frame[12:14] != (b"\x08\0" if family == 4 else b"\x86\xdd") or frame[protocol] != 6:
                answer_neighbour(wire, frame)
                continue
            source, to = struct.unpack("!HH", frame[header:header + 4])
            if source == port and first <= to < first + CLIENTS:
                assert frame[header + 13] == flags
                answered.add(to)
            if len(answered) == CLIENTS:
                break
    return len(answered)


@pytest.mark.parametrize("family", [4, 6])
def test_every_new_client_is_answered(wire, family):
    assert ports_answered(wire, family, 6379, 10000, SYN | ACK) == CLIENTS


@pytest.mark.parametrize("family", [4, 6])
def test_every_client_of_a_closed_port_is_refused(wire, family):
    assert ports_answered(wire, family, 6380, 20000, RST | ACK) == CLIENTS
