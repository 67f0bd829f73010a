"""Bursts of datagrams that are larger than a device's ring: nothing of them is lost, and who sends
them waits or is told (udp(7))."""

import contextlib
import socket
import struct

import pytest

from tests.system.guest import GUEST

BUFFER = 64 << 20


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("system-datagrams", "tap", memory=64)
    guest.wait_console("ready")
    return guest


@contextlib.contextmanager
def receiver(guest, *kind):
    with guest.inside():
        s = socket.socket(socket.AF_INET, *kind)
    with s:
        s.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
        s.settimeout(5)
        yield s


def burst(guest, s, count, size, how=""):
    """The numbers of those that arrive."""
    s.sendto(f"{count} {size} {how}".encode(), (GUEST, 9000))
    numbers = []
    with contextlib.suppress(TimeoutError):
        while len(numbers) < count:
            data = s.recv(65536)
            assert len(data) == size
            numbers.append(struct.unpack("<I", data[:4])[0])
    return numbers


@pytest.mark.parametrize("how", ["", "poll"], ids=["blocking", "polling"])
@pytest.mark.parametrize("count, size", [(1000, 1400), (100, 8000), (1, 65000), (5, 65507)])
def test_all_of_a_burst_arrive_in_order(guest, count, size, how):
    with receiver(guest, socket.SOCK_DGRAM) as s:
        assert burst(guest, s, count, size, how) == list(range(count))
    guest.wait_console(rf"sent {count} of {count}, full \d+: ok", 5)


def test_a_long_echo_request_is_answered(guest):
    payload = bytes(i % 251 for i in range(65507))
    with receiver(guest, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        header = struct.pack("!BBHHH", 8, 0, 0, 12, 1)
        packet = header + payload
        total = sum(struct.unpack(f"!{(len(packet) + 1) // 2}H", packet + b"\0" * (len(packet) % 2)))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        s.sendto(packet[:2] + struct.pack("!H", ~total & 0xFFFF) + packet[4:], (GUEST, 0))
        answer = s.recv(65536)
    assert answer[20] == 0 and answer[28:] == payload
