"""Addresses given on the command line: IPv6, and for several interfaces."""

import socket
import time

import pytest
from vmkit.resp import Redis

from tests.system.guest import GUEST, HOST, free_port


def ping(guest, address, source=None, patience=60):
    deadline = time.monotonic() + patience
    while True:
        try:
            with guest.inside(), socket.create_connection(address, 5, source) as s:
                s.sendall(b"PING\r\n")
                assert s.recv(64) == b"+PONG\r\n"
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_static_ipv6(boot, namespace_with_tap):
    with namespace_with_tap.entered():
        namespace_with_tap.with_ipv6("tap0")
        for address, device in (("fd00:44::1/64", "tap0"), ("fd00:99::1/128", "lo")):
            namespace_with_tap.run("ip", "address", "add", address, "dev", device, "nodad")
    guest = boot("redis", namespace_with_tap, options="ip6=fd00:44::2/64 gw6=fd00:44::1")
    ping(guest, ("fd00:44::2", 6379))
    # An answer to elsewhere goes through the gateway.
    ping(guest, ("fd00:44::2", 6379), source=("fd00:99::1", 0))
    assert "ip6=" not in guest.text  # no complaint


@pytest.mark.parametrize("address", ["fd00:44::2", GUEST])
def test_the_short_way_in_both_families(boot, namespace_with_tap, address):
    """Requests and answers, and the acknowledgements of what the guest pours out, by header prediction
    (core/net/tcp_predict.cc)."""
    with namespace_with_tap.entered():
        namespace_with_tap.with_ipv6("tap0")
        namespace_with_tap.run("ip", "address", "add", "fd00:44::1/64", "dev", "tap0", "nodad")
    guest = boot("system-echo", namespace_with_tap, options="ip6=fd00:44::2/64")
    guest.wait_console("listening")

    def ask(s, text, size):
        s.sendall(text)
        answer = b""
        while len(answer) < size:
            piece = s.recv(4096)
            assert piece, "the connection ended"
            answer += piece
        return answer

    def short_ways(s):
        return [int(n) for n in ask(s, b"short ways\n", 5).split()]

    with guest.inside(), socket.create_connection((address, 7), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before = short_ways(s)
        for n in range(100):
            # Sizes on both sides of what is copied in a few steps.
            text = bytes([n]) * (3 + 13 * n)
            assert ask(s, text, len(text)) == text
        data, _, sent = (b - a for a, b in zip(before, short_ways(s)))
    assert data >= 95  # once a second one takes the long way, which keeps the neighbour known
    assert sent >= 95


def test_two_interfaces(boot):
    port = free_port()
    second = ["-netdev", f"user,id=net1,net=10.9.0.0/24,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.9.0.77:6379",
              "-device", "virtio-net-pci,netdev=net1,mac=52:54:00:0b:1a:c1"]
    guest = boot("redis", "tap", machine="q35", extra=second, options="en1.ip=10.9.0.77/24")
    guest.wait_redis()
    guest.wait_console(r"en1 has 10\.9\.0\.77/24")
    ping(guest, ("127.0.0.1", port))


@pytest.mark.parametrize("options, line", [
    ("ip=10.0.0.2", "oblako: ip=10.0.0.2 is not ADDRESS/LENGTH"),
    ("ip=10.0.0.255/24", "oblako: ip=10.0.0.255/24 is not an address that a host can have"),
    ("en0.ip=10.0.0.2/24 gw=10.0.1.1", "oblako: gw=10.0.1.1 is not on the network that ip= names"),
    ("gw=10.0.0.1", "oblako: gw=10.0.0.1 needs ip=ADDRESS/LENGTH"),
    ("ip=10.0.0.2/24 dns=one", "oblako: dns=one is not ADDRESS"),
    ("dns=10.0.0.1", "oblako: dns=10.0.0.1 needs ip=ADDRESS/LENGTH"),
    ("ip=10.0.0.2/24 en5.ip=10.0.0.3/24", "oblako: en5.ip=10.0.0.3/24 is for an interface that this machine"),
    ("en0.ip=10.0.0.2/24 ip=10.0.0.3/24", "oblako: ip=10.0.0.3/24 stands beside en0's option"),
    ("ip6=fd00::2/64 gw6=fd00::2", "oblako: gw6=fd00::2 is the machine's own address"),
    ("ip6=fd00::2/48", "oblako: ip6=fd00::2/48 is not ADDRESS/64"),
    ("ip6=ff02::1/64", "oblako: ip6=ff02::1/64 is not an address that a host can have"),
    ("ip6=fd00::2/64 gw6=here", "oblako: gw6=here is not the IPv6 address of a router"),
])
def test_a_wrong_address_ends_the_machine(boot, namespace_with_tap, options, line):
    guest = boot("httpd", namespace_with_tap, static=False, options=options)
    assert guest.wait_end(20) == 78
    assert line in guest.text and guest.text.count("the machine ends here") == 1


def test_the_gateway_of_a_network_of_one_address_lies_beside_it(boot, namespace_with_tap):
    """As clouds have it: a /32, and a router that is on the same link all the same."""
    guest = boot("redis", namespace_with_tap, static=False, options=f"ip={GUEST}/32 gw={HOST}")
    ping(guest, (GUEST, 6379))


def test_wrong_options_are_one_line_each(boot, namespace_with_tap):
    """What is no address: the machine comes up all the same."""
    wrong = {
        "hostname=a_b": "is not a name of letters, digits",
        "clock=99999999999": "is not a number of seconds since 1970",
        "net.capture=80000": "is not a port of the gateway's, or ADDRESS:PORT",
        "mem.wx=yes": "is not mem.wx=allow",
        "boot.trace=no": "takes no value",
        "env.A": "is not env.NAME=VALUE",
        "no.such=1": "is unknown: there are clock hostname",
        f"ip={HOST}/24": "comes again",
    }
    guest = boot("httpd", namespace_with_tap, options=" ".join(wrong))
    ping_http(guest)
    for option, complaint in wrong.items():
        assert guest.text.count(f"oblako: warning: {option} {complaint}") == 1, option
    assert guest.text.count("; ignored") == len(wrong)
    assert "oblako: boot:" not in guest.text


def ping_http(guest):
    deadline = time.monotonic() + 30
    while True:
        try:
            with guest.inside(), socket.create_connection((GUEST, 80), 5) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert s.recv(64).startswith(b"HTTP/")
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
