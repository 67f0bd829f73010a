"""Neighbours that are known stay known when somebody speaks for many others."""

import contextlib
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, IP, TCP  # noqa: E402
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402

from tests.system.guest import GUEST, HOST, MAC  # noqa: E402
from tests.system.net_peer import ECHO  # noqa: E402
from tests.system.raw_peer import GUEST6, OUR_MAC, Peer, Peer6  # noqa: E402

OTHERS = 400  # more than a table has entries
FULL = 160  # so are these, and fewer than the echoes that are answered at once


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("system-net_peer", "tap", options=f"ip6={GUEST6}/64", limit=120)
    with guest.inside():
        guest.namespace.with_ipv6("tap0")
    guest.wait_console("ready")
    return guest


def asked_for(peer, target, request, answered):
    """True if the guest asks for the target's link address before it answers. An answer is lost
    while what was sent before fills the device's ring."""
    asked = False
    for _ in range(10):
        peer.send_frame(request)
        for frame in peer.frames(1):
            asked |= (ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == target or
                      ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt == target and
                      frame[Ether].dst.startswith("33:33"))
            if answered(frame):
                return asked
    raise AssertionError("no answer")


def ping(source, number):
    request = Ether(src=OUR_MAC, dst=MAC) / IP(src=source, dst=GUEST) / ICMP(type=8, seq=number)
    return request, lambda f: ICMP in f and f[IP].dst == source and f[ICMP].seq == number


def ping6(source, number):
    request = Ether(src=OUR_MAC, dst=MAC) / IPv6(src=source, dst=GUEST6) / \
        ICMPv6EchoRequest(seq=number)
    return request, lambda f: IPv6 in f and f[IPv6].dst == source and ICMPv6ND_NS not in f


def station(n):
    """The n-th of many on the link: its link address and its address."""
    return f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}", f"172.44.{1 + (n >> 8)}.{n & 255}"


FAR = "192.0.2.9"
A_TICK = 1.2  # seconds; ages are counted in seconds


def test_syns_from_invented_addresses(guest):
    with contextlib.closing(Peer(guest)) as peer:
        assert peer.ping()
        for number in (1, 2):
            asked_for(peer, peer.address, *ping(peer.address, number))
        syns = [Ether(src=OUR_MAC, dst=MAC) / IP(src=f"172.44.0.{20 + n % 180}", dst=GUEST) /
                TCP(sport=1000 + n, dport=ECHO, flags="S") for n in range(OTHERS)]
        for frame in syns:
            peer.send_frame(frame)
        assert not asked_for(peer, peer.address, *ping(peer.address, 3)), "the neighbour is forgotten"


def test_syns_from_invented_addresses_of_ipv6(guest):
    with contextlib.closing(Peer6(guest)) as peer:
        request, answered = ping6(peer.address, 1)
        peer.send_frame(request)
        assert peer.wait(lambda p: ICMPv6ND_NS not in p)
        asked_for(peer, peer.address, *ping6(peer.address, 2))
        for n in range(OTHERS):
            peer.send_frame(Ether(src=OUR_MAC, dst=MAC) / IPv6(src=f"fd00:44::6:{n:x}", dst=GUEST6) /
                            TCP(sport=1000 + n, dport=ECHO, flags="S"))
        assert not asked_for(peer, peer.address, *ping6(peer.address, 3)), "the neighbour is forgotten"


def test_arp_requests_of_many(guest):
    """Neither the gateway nor who was sent to a moment ago gives its place to them, however long
    ago they were learnt."""
    with contextlib.closing(Peer(guest)) as peer:
        assert peer.ping()
        asked_for(peer, HOST, *ping(FAR, 1))
        time.sleep(A_TICK)
        assert peer.ping()
        for n in range(OTHERS):
            mac, address = station(n)
            peer.send_frame(Ether(src=mac, dst=MAC) / ARP(op=1, hwsrc=mac, psrc=address, pdst=GUEST))
        assert not asked_for(peer, HOST, *ping(FAR, 2)), "the gateway is forgotten"
        assert not asked_for(peer, peer.address, *ping(peer.address, 3)), "the neighbour is forgotten"


def test_many_that_are_sent_to(boot):
    """The gateway keeps its place even if everybody else was sent to after it. In a machine of its
    own: nobody is being asked for, who would give way before."""
    guest = boot("system-net_peer", "tap")
    guest.wait_console("ready")
    with contextlib.closing(Peer(guest)) as peer:
        asked_for(peer, HOST, *ping(FAR, 1))
        time.sleep(A_TICK)
        for n in range(FULL):
            mac, address = station(n)[0], f"172.44.0.{20 + n}"  # no way leads over the gateway
            peer.send_frame(Ether(src=mac, dst=MAC) / ARP(op=1, hwsrc=mac, psrc=address, pdst=GUEST))
            peer.send_frame(Ether(src=mac, dst=MAC) / IP(src=address, dst=GUEST) /
                            ICMP(type=8, seq=4))
        assert not asked_for(peer, HOST, *ping(FAR, 2)), "the gateway is forgotten"
