"""Identifications of IP datagrams: whoever sees some does not see how many others are sent."""

import contextlib

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, UDP, fragment  # noqa: E402
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest,  # noqa: E402
                                IPv6ExtHdrFragment, fragment6)
from scapy.packet import Raw  # noqa: E402

from tests.system.net_peer import ECHO  # noqa: E402
from tests.system.raw_peer import Connection, Peer, Peer6  # noqa: E402

DESTINATIONS = 12


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("system-net_peer", "tap", options="ip6=fd00:44::2/64", limit=120)
    with guest.inside():
        guest.namespace.with_ipv6("tap0")
    guest.wait_console("ready")
    return guest


def identifications(peer, ask, address_of):
    """Of answers to one address while others are answered too; and of one answer to each of those."""
    def at(n):
        peer.address = address_of(n)
        return ask(peer)

    ours, others = [], []
    for n in range(1, DESTINATIONS):
        ours.append(at(0))
        others.append([at(n) for _ in range(3)][0])
    return ours, others


def check(ours, others, bits):
    apart = [(b - a) % (1 << bits) for a, b in zip(ours, ours[1:])]
    # Few others share a counter with us; all would without the hash.
    assert apart.count(1) >= len(apart) - 2, apart
    begins = sorted(others)
    assert begins[-1] - begins[0] > 1 << (bits - 4), "one counter for all"


def datagram_id(peer):
    """Of an answer that is cut."""
    port = peer.port()
    for part in fragment(peer.ip(id=port) / UDP(sport=port, dport=ECHO) / Raw(b"x" * 2000), 1400):
        peer.send(part)
    answer = peer.wait(lambda p: UDP in p and p[UDP].dport == port)
    assert answer and answer.flags.MF
    return answer.id


def echo_id(peer):
    """Of an echo reply; the request has one of its own."""
    number = peer.port()
    peer.send(peer.ip(id=7) / ICMP(type=8, seq=number))
    return peer.wait(lambda p: ICMP in p and p[ICMP].seq == number).id


@pytest.mark.parametrize("ask", [datagram_id, echo_id])
def test_ipv4(guest, ask):
    with contextlib.closing(Peer(guest)) as peer:
        check(*identifications(peer, ask, lambda n: f"172.44.0.{30 + n}"), 16)


def test_segments_have_none(guest):
    """Nobody cuts them: the field means nothing, and tells nothing (RFC 6864)."""
    with contextlib.closing(Peer(guest)) as peer:
        c = Connection(peer, ECHO)
        answers = [c.open().underlayer]
        for n in range(3):
            c.send("PA", b"data")
            answers.append(c.wait(lambda t: len(t.payload)).underlayer)
            c.ack += 4
        assert all(a.flags.DF and a.id == 0 for a in answers)
        c.send("R")


def fragment_id(peer):
    number = peer.port()
    request = peer.ip() / IPv6ExtHdrFragment() / ICMPv6EchoRequest(seq=number, data=b"y" * 2000)
    for part in fragment6(request, 1280):
        peer.send(part)
    answer = peer.wait(lambda p: IPv6ExtHdrFragment in p and ICMPv6EchoReply in p and
                       p[ICMPv6EchoReply].seq == number)
    assert answer
    return answer[IPv6ExtHdrFragment].id


def test_ipv6_fragments(guest):
    with contextlib.closing(Peer6(guest)) as peer:
        check(*identifications(peer, fragment_id, lambda n: f"fd00:44::{30 + n}"), 32)
