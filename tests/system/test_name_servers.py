"""Name servers in /etc/resolv.conf: from router advertisements (RFC 8106), with their lifetimes,
beside those of DHCP; and the resolver asking one of them over IPv6."""

import contextlib
import socket
import struct
import threading
import time

import pytest
from scapy.layers.inet6 import (ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS,
                                ICMPv6NDOptUnknown, IPv6)
from scapy.layers.l2 import Ether

HERE, ROUTER, FOR_EVER = "fd00:44::1", "fe80::1", 0xFFFFFFFF
ROUTER_MAC = "02:00:00:00:00:01"


class NameServer(threading.Thread):
    """Knows one name. Make it inside the network namespace."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.bind((HERE, 53))
        self.socket.settimeout(0.2)
        self.asked_by = set()
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                question, client = self.socket.recvfrom(512)
                self.asked_by.add(client[0])
                self.socket.sendto(self.answer_to(question), client)

    @staticmethod
    def answer_to(question):
        end = question.index(b"\0", 12) + 5
        kind, = struct.unpack("!H", question[end - 4:end - 2])
        data = {1: socket.inet_aton("10.1.2.3"),
                28: socket.inet_pton(socket.AF_INET6, "fd00:1::2:3")}[kind]
        return (question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:end] + b"\xc0\x0c" +
                struct.pack("!HHIH", kind, 1, 60, len(data)) + data)

    def stop(self):
        self.ended.set()
        self.join()
        self.socket.close()


class Router:
    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind(("tap0", 0))

    def announce(self, *options, **ip):
        """A router advertisement, from a router that nobody is to go through."""
        packet = (Ether(src=ROUTER_MAC, dst="33:33:00:00:00:01") /
                  IPv6(**{"src": ROUTER, "dst": "ff02::1", "hlim": 255} | ip) /
                  ICMPv6ND_RA(routerlifetime=0))
        for option in options:
            packet /= option
        self.socket.send(bytes(packet))


def servers(lifetime, *addresses):
    return ICMPv6NDOptRDNSS(lifetime=lifetime, dns=list(addresses))


def line(*addresses):
    return "servers: " + "".join(f"nameserver {a}," for a in addresses) + ";"


@pytest.fixture
def network(namespace_with_tap):
    with namespace_with_tap.entered():
        namespace_with_tap.with_ipv6("tap0")
        namespace_with_tap.run("ip", "address", "add", f"{HERE}/64", "dev", "tap0", "nodad")
    return namespace_with_tap


@pytest.fixture
def router(network):
    with network.entered():
        router = Router()
    yield router
    router.socket.close()


@pytest.fixture
def start(boot, network):
    def start(**how):
        guest = boot("system-resolver", network, limit=120, **how)
        guest.wait_console("ready")
        return guest
    return start


def says(guest, text):
    """The console's last word about the file, once it is this."""
    guest.wait_console(text.replace(".", r"\."), 15)
    lines = [word for word in guest.text.split("\n") if word.startswith("servers: ")]
    assert lines[-1].strip() == text


def test_the_resolver_asks_an_announced_server(network, router, start):
    with network.entered():
        server = NameServer()
    try:
        guest = start(static=False)
        router.announce(ICMPv6NDOptPrefixInfo(prefix="fd00:44::", prefixlen=64, L=1, A=1))
        time.sleep(3)  # the address is tried for a second
        router.announce(servers(FOR_EVER, HERE))
        says(guest, line("FD00:44::1"))
        guest.wait_console(r"look-up: 10\.1\.2\.3", 15)
        guest.wait_console("look-up: fd00:1::2:3", 15)
        assert any(a.startswith("fd00:44:") for a in server.asked_by)
    finally:
        server.stop()


def test_a_lifetime_ends(router, start):
    guest = start(static=False)
    router.announce(servers(4, "fd00:45::1", ROUTER), servers(FOR_EVER, "fd00:45::3"))
    says(guest, line("FD00:45::1", "FE80::1%en0", "FD00:45::3"))
    router.announce(servers(20, ROUTER))  # goes on
    says(guest, line("FE80::1%en0", "FD00:45::3"))
    router.announce(servers(0, ROUTER))  # and is taken back
    says(guest, line("FD00:45::3"))
    router.announce(servers(0, "fd00:45::3"))
    says(guest, line())


def test_of_too_many_the_longest_stay(router, start):
    guest = start(static=False)
    router.announce(servers(100, "fd00:45::1"), servers(50, "fd00:45::2"),
                    servers(300, "fd00:45::3"), servers(200, "fd00:45::4"))
    says(guest, line("FD00:45::1", "FD00:45::4", "FD00:45::3"))


def test_advertisements_that_cannot_be_meant(router, start):
    guest = start(static=False)
    good = servers(FOR_EVER, "fd00:45::9")
    for source, hops in (("fd00:44::7", 255), (ROUTER, 64)):
        router.announce(servers(FOR_EVER, "fd00:45::1"), src=source, hlim=hops)
    router.announce(servers(FOR_EVER, "::", "::1", "ff02::1"))
    for length in (0, 1, 2, 200):
        data = bytes(2) + struct.pack("!I", FOR_EVER) + socket.inet_pton(socket.AF_INET6, "fd00:45::2")
        router.announce(ICMPv6NDOptUnknown(type=25, len=length, data=data[:14]))
    router.announce(good)
    says(guest, line("FD00:45::9"))


def test_beside_those_of_dhcp(network, router, start, dhcp):
    """Two of DHCP's come first; the resolver asks three."""
    server = dhcp(network)
    server.always = {6: b"".join(bytes([10, 0, 0, n]) for n in (1, 2, 3))}
    guest = start(static=False)
    router.announce(servers(FOR_EVER, "fd00:45::1"))
    says(guest, line("10.0.0.1", "10.0.0.2", "FD00:45::1", "10.0.0.3"))


def test_those_of_the_command_line_are_all(router, start):
    guest = start()
    router.announce(servers(FOR_EVER, "fd00:45::1"))
    time.sleep(2)
    says(guest, line("172.44.0.1"))
