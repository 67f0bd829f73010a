"""Somebody else on the link claims the guest's addresses: while they are tested, and afterwards.

Most of it is waiting, so that all guests are booted at once, each on a link of its own; what is
tried on each is a function of its link and its machine."""

import concurrent.futures
import contextlib
import socket
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, IP  # noqa: E402
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA,  # noqa: E402
                                ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6)
from scapy.layers.l2 import ARP, Ether  # noqa: E402

from tests.system.conftest import skip_without_tap  # noqa: E402
from tests.system.guest import GUEST, HOST, MAC, PREFIX, Guest  # noqa: E402
from vmkit import netns  # noqa: E402

THIEF = "02:00:00:00:00:66"
ALL_NODES = ("33:33:00:00:00:01", "ff02::1")
LINK_LOCAL = "fe80::5054:ff:fe0b:1ac0"
STATIC6 = "fd00:44::2"


class Link:
    """The guest's link, heard from before it boots."""

    def __init__(self, namespace):
        with namespace.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.bind(("tap0", 0))
        self.tests = 0  # of addresses, seen

    def close(self):
        self.socket.close()

    def send(self, frame):
        self.socket.send(bytes(frame))

    def frames(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data, about = self.socket.recvfrom(65536)
                if about[2] != socket.PACKET_OUTGOING and data[6:12].hex(":") == MAC:
                    frame = Ether(data)
                    self.tests += self.is_test(frame)
                    yield frame

    @staticmethod
    def is_test(frame):
        return ICMPv6ND_NS in frame and frame[IPv6].src == "::"

    def wait(self, wanted, seconds=20):
        for frame in self.frames(seconds):
            if wanted(frame):
                return frame
        return None

    def test_of(self, seconds=20, wanted=lambda target: True):
        """The next solicitation by which the guest tests an address (RFC 4862, 5.4.2)."""
        return self.wait(lambda f: self.is_test(f) and wanted(f[ICMPv6ND_NS].tgt), seconds)

    def claim(self, address):
        self.send(Ether(src=THIEF, dst=ALL_NODES[0]) / IPv6(src=address, dst=ALL_NODES[1], hlim=255) /
                  ICMPv6ND_NA(tgt=address, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=THIEF))

    def answers6(self, address, seconds=10):
        """True if an echo request to an address of the guest is answered."""
        ours = "fe80::66"
        self.send(Ether(src=THIEF, dst=MAC) / IPv6(src=ours, dst=address, hlim=255) /
                  ICMPv6ND_NS(tgt=address) / ICMPv6NDOptSrcLLAddr(lladdr=THIEF))
        self.send(Ether(src=THIEF, dst=MAC) / IPv6(src=ours, dst=address) / ICMPv6EchoRequest(seq=5))
        return self.wait(lambda f: ICMPv6EchoReply in f and f[IPv6].src == address,
                         seconds) is not None

    def becomes_usable(self, address):
        """True if an address answers in the end."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.answers6(address, 0.2):
                return True
        return False

    def answers4(self):
        self.send(Ether(src=THIEF, dst=MAC) /
                  ARP(op=1, hwsrc=THIEF, psrc="172.44.0.66", pdst=GUEST))
        self.send(Ether(src=THIEF, dst=MAC) / IP(src="172.44.0.66", dst=GUEST) / ICMP(type=8, seq=5))
        return self.wait(lambda f: ICMP in f and f[ICMP].type == 0, 10) is not None


def another_identifier(link, guest):
    """The first one is somebody else's. So is the one that is made of a router's prefix."""
    first = link.test_of()[ICMPv6ND_NS].tgt
    assert first == LINK_LOCAL
    link.claim(first)
    second = link.test_of()[ICMPv6ND_NS].tgt
    assert second.startswith("fe80::") and second != first
    guest.wait_console(f"{LINK_LOCAL} is somebody else's")
    assert link.becomes_usable(second)  # nobody claims it
    assert not link.answers6(first, 0.5)

    link.send(Ether(src=THIEF, dst=ALL_NODES[0]) / IPv6(src="fe80::66", dst=ALL_NODES[1], hlim=255) /
              ICMPv6ND_RA(routerlifetime=100) /
              ICMPv6NDOptPrefixInfo(prefix="fd00:55::", prefixlen=64, validlifetime=1000,
                                    preferredlifetime=1000))
    of_router = link.test_of(wanted=lambda a: a.startswith("fd00:55:"))[ICMPv6ND_NS].tgt
    # The other who tests the same address at the same time counts, too.
    link.send(Ether(src=THIEF, dst="33:33:ff:00:00:00") /
              IPv6(src="::", dst="ff02::1:ff" + of_router[-7:].rjust(7, "0"), hlim=255) /
              ICMPv6ND_NS(tgt=of_router))
    another = link.test_of(wanted=lambda a: a.startswith("fd00:55:"))[ICMPv6ND_NS].tgt
    assert another != of_router
    assert link.answers4() and link.answers6(STATIC6)


def who_claims_all(link, guest):
    """Four are tried at once, then no more for a minute; IPv4 and ip6= serve."""
    claimed = []
    for _ in range(4):
        claimed.append(link.test_of()[ICMPv6ND_NS].tgt)
        link.claim(claimed[-1])
    assert len(set(claimed)) == 4
    assert link.test_of(2.2) is None  # the next would be within a second, and another of delay
    assert link.answers4() and link.answers6(STATIC6)
    guest.wait_console("trying again each minute")
    assert guest.text.count("somebody else's") == 4


def ones_own_test_comes_back(link, guest):
    """The link sends it back to us (RFC 7527): nobody else has the address."""
    test = link.test_of()
    assert bytes(test).find(b"\x0e\x01") > 0, "no nonce"
    for _ in range(3):
        link.send(test)
    link.tests = 0
    assert link.becomes_usable(LINK_LOCAL) and link.tests == 0
    assert "somebody else" not in guest.text


def claims_of_addresses_in_use(link, guest):
    """They stay, IPv4's is defended once, and there is one line about all of it."""
    guest.wait_console("ready")
    assert link.test_of(wanted=lambda a: a == LINK_LOCAL)
    assert link.becomes_usable(LINK_LOCAL)
    for n in range(50):
        link.claim(LINK_LOCAL)
        link.claim(STATIC6)
        sender = f"02:00:00:00:01:{n:02x}"
        for target, op in ((GUEST, 1), (HOST, 1), (GUEST, 2)):
            link.send(Ether(src=sender, dst="ff:ff:ff:ff:ff:ff") /
                      ARP(op=op, hwsrc=sender, psrc=GUEST, pdst=target))
    answers = [f for f in link.frames(1) if ARP in f and f[ARP].psrc == GUEST]
    assert len(answers) == 1 and answers[0].dst == "ff:ff:ff:ff:ff:ff", "no defence, or too many"
    assert answers[0][ARP].pdst == GUEST
    assert link.answers4() and link.answers6(STATIC6) and link.answers6(LINK_LOCAL)
    assert guest.text.count("claimed") == 1


def arp_messages_of_nobody(link, guest):
    """Neither answered nor remembered; who looks whether our address is free gets an answer."""
    guest.wait_console("ready")

    def answered(**fields):
        fields = {"op": 1, "hwsrc": THIEF, "psrc": "172.44.0.66", "pdst": GUEST} | fields
        link.send(Ether(src=THIEF, dst=MAC) / ARP(**fields))
        return link.wait(lambda f: ARP in f and f[ARP].op == 2, 0.2) is not None

    assert answered() and answered(psrc="0.0.0.0")
    for source in ("127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "172.44.0.255"):
        assert not answered(psrc=source), source
    for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00", MAC):
        assert not answered(hwsrc=mac), mac
    assert not answered(op=3)
    assert link.answers4()


SCENARIOS = (another_identifier, who_claims_all, ones_own_test_comes_back,
             claims_of_addresses_in_use, arp_messages_of_nobody)


def on_a_link_of_its_own(scenario, image):
    with netns.Namespace() as namespace:
        with namespace.entered():
            namespace.add_tap("tap0", f"{HOST}/{PREFIX}", guest=GUEST, mac=MAC)
        with contextlib.closing(Link(namespace)) as link:
            guest = Guest(image, network=namespace, options=f"ip6={STATIC6}/64")
            try:
                scenario(link, guest)
            finally:
                guest.kill()


@pytest.fixture(scope="module")
def outcomes(app):
    skip_without_tap()
    image = app("system-net_peer")
    with concurrent.futures.ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {s: pool.submit(on_a_link_of_its_own, s, image) for s in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_claims(outcomes, scenario):
    outcomes[scenario].result()
