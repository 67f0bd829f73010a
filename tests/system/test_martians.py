"""Packets that no host can have sent, and such as were not meant for one: no answer, to anybody, and
nobody is asked for the link address of such a source."""

import contextlib

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RS,  # noqa: E402
                                IPv6)
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from tests.system.guest import GUEST, MAC  # noqa: E402
from tests.system.net_peer import ECHO, SHORT  # noqa: E402
from tests.system.raw_peer import ADDRESS, ADDRESS6, GUEST6, OUR_MAC, Peer, Peer6  # noqa: E402

SOURCES = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "224.0.0.1", "239.1.2.3", "240.0.0.1",
           "255.255.255.255", "172.44.0.255", GUEST]
DESTINATIONS = ["0.0.0.0", "127.0.0.1", "127.1.2.3", "240.0.0.1", "255.255.255.254"]
SOURCES6 = ["::", "::1", "::172.44.0.9", "::ffff:172.44.0.9", "::ffff:172.44.0.2", "ff02::1",
            "ff0e::9", GUEST6]
DESTINATIONS6 = ["::", "::1", "::ffff:172.44.0.2", "::172.44.0.2", "ff01::1", "ff00::1"]
LINK_LOCAL = "fe80::5054:ff:fe0b:1ac0"  # of the guest


def asked_by_link(peer):
    """The peer is known, so that nobody has to ask for it while we listen."""
    peer.send(peer.ip() / (ICMP(type=8) if IP in peer.ip() else ICMPv6EchoRequest()))
    assert peer.wait(lambda p: True, 10)


@pytest.fixture(scope="module")
def guest(boot_once):
    """It has gateways, so that answers to anywhere would be seen."""
    guest = boot_once("system-paths", "tap", options="ip6=fd00:44::2/64 gw6=fd00:44::1", limit=120)
    with guest.inside():
        guest.namespace.with_ipv6("tap0")
    guest.wait_console("ready")
    with contextlib.closing(Peer6(guest, address="fd00:44::1")) as gateway:
        asked_by_link(gateway)
    return guest


def payloads(version):
    yield TCP(sport=4567, dport=ECHO, flags="S", seq=1)
    yield TCP(sport=4567, dport=4, flags="S", seq=1)  # nobody listens
    yield TCP(sport=4567, dport=ECHO, flags="A", seq=1, ack=1)
    yield UDP(sport=4567, dport=ECHO) / Raw(b"x")
    yield UDP(sport=4567, dport=4) / Raw(b"x")
    yield ICMP(type=8) / Raw(b"x") if version == 4 else ICMPv6EchoRequest(data=b"x")


def packets(source, target, **link):
    version, ip = (6, IPv6) if ":" in target else (4, IP)
    return [Ether(**{"src": OUR_MAC, "dst": MAC} | link) / ip(src=source, dst=target) / payload
            for payload in payloads(version)]


def answers(peer, frames):
    """What the guest sends because of these frames."""
    list(peer.frames(0.02))
    for frame in frames:
        peer.send_frame(frame)
    # The last one is answered, so the others have been looked at.
    peer.send(peer.ip() / (ICMP(type=8, seq=77) if IP in peer.ip() else ICMPv6EchoRequest(seq=77)))
    found = []
    for frame in peer.frames(SHORT):
        ours = (frame.haslayer(IP) and frame[IP].dst == peer.address or
                frame.haslayer(IPv6) and frame[IPv6].dst == peer.address)
        probe = (frame.haslayer(ARP) and frame[ARP].pdst in (ADDRESS, "172.44.0.1") or
                 frame.haslayer(ICMPv6ND_NS) and
                 frame[ICMPv6ND_NS].tgt in (ADDRESS6, "fd00:44::1") or
                 frame.haslayer(ICMPv6ND_RS))
        if not ours and not probe:
            found.append(frame)
    return found


@pytest.fixture
def peer(guest):
    with contextlib.closing(Peer(guest)) as peer:
        asked_by_link(peer)
        yield peer
        assert peer.ping()


@pytest.fixture
def peer6(guest):
    with contextlib.closing(Peer6(guest)) as peer:
        asked_by_link(peer)
        yield peer
        asked_by_link(peer)


def test_sources(peer):
    frames = [frame for source in SOURCES for frame in packets(source, GUEST)]
    assert answers(peer, frames) == []


def test_destinations(peer):
    frames = [frame for target in DESTINATIONS for frame in packets(ADDRESS, target)]
    list(peer.frames(0.02))
    for frame in frames:
        peer.send_frame(frame)
    assert [frame for frame in peer.frames(SHORT) if IP in frame] == []


def test_sources_of_ipv6(peer6):
    frames = [frame for source in SOURCES6 for frame in packets(source, GUEST6)]
    frames += [frame for source in ("::1", LINK_LOCAL, "::") for frame in packets(source, LINK_LOCAL)]
    frames += packets("::", "ff02::1:ff00:2", dst="33:33:ff:00:00:02")
    assert answers(peer6, frames) == []


def test_destinations_of_ipv6(peer6):
    list(peer6.frames(0.02))
    for target in DESTINATIONS6:
        for frame in packets(ADDRESS6, target):
            peer6.send_frame(frame)
    assert [f for f in peer6.frames(SHORT)
            if IPv6 in f and ICMPv6ND_NS not in f and ICMPv6ND_RS not in f] == []


def test_for_one_in_a_frame_for_many(peer, peer6):
    for link in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"):
        assert answers(peer, packets("172.44.0.1", GUEST, dst=link)) == []
        assert answers(peer6, packets("fd00:44::1", GUEST6, dst=link)) == []


def test_others_are_answered(peer, peer6):
    """That is, the packets here are such as are answered. Last, because what it begins goes on."""
    assert len(answers(peer, packets("172.44.0.1", GUEST))) >= 5
    assert len(answers(peer6, packets("fd00:44::1", GUEST6))) >= 1
