"""When the guest asks for routers, and as whom."""

import socket
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402

from tests.system.guest import MAC  # noqa: E402


def test_with_an_address_it_asks_at_once(boot, namespace_with_tap):
    """Nobody answers the first solicitation, which has no source: the next does not wait for the usual
    four seconds."""
    with namespace_with_tap.entered():
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        link.bind(("tap0", 0))
    with link:
        boot("system-echo", namespace_with_tap)
        tested = asked = None
        link.settimeout(20)
        deadline = time.monotonic() + 20
        while asked is None:
            assert time.monotonic() < deadline
            frame = Ether(link.recv(65536))
            if frame.src != MAC or IPv6 not in frame:
                continue
            if ICMPv6ND_NS in frame and frame[IPv6].src == "::" and frame[ICMPv6ND_NS].tgt.startswith("fe80::"):
                tested = tested or time.monotonic()
            if ICMPv6ND_RS in frame and frame[IPv6].src.startswith("fe80::"):
                assert frame[ICMPv6NDOptSrcLLAddr].lladdr == MAC
                asked = time.monotonic()
    assert tested is not None and asked - tested < 2.5  # a second later, on a quiet host
