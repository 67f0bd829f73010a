"""What the DHCP client does when all does not go well (RFC 2131), against a server that does what
it is told. Leases are a few seconds long."""

import struct
import time

import pytest

from tests.system.dhcp_server import (DISCOVER, LEASE, MASK, REQUEST, ROUTER, SERVER, T1, T2,
                                      Message)
from tests.system.guest import GUEST, HOST

OTHER = "172.44.0.3"
EVERYBODY = "255.255.255.255"


@pytest.fixture
def leased(boot, namespace_with_tap, dhcp):
    """(guest, server) once there is an address; `how` as for DhcpServer."""
    def start(**how):
        server = dhcp(namespace_with_tap, **how)
        guest = boot("redis", namespace_with_tap, static=False)
        guest.wait_redis(30)
        return guest, server
    return start


def until(condition, patience=30):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ends(client):
    """The connection that has lost its address is over, for us by a reset."""
    with pytest.raises(ConnectionError):
        client.call("PING")


def starts_anew(guest, server):
    """There is an address again, and the application knows of no connection from before."""
    until(lambda: guest.text.count("(DHCP)") == 2)
    assert DISCOVER in server.log[2:]
    guest.wait_redis(30)
    with guest.redis() as client:
        assert int(client.info()["connected_clients"]) == 1


@pytest.mark.full
def test_renewal_goes_to_the_server(leased):
    guest, server = leased(lease=6)
    with guest.redis() as client:
        until(lambda: server.log.count(REQUEST) == 4)
        assert client.call("PING") == "PONG"
    assert set(server.heard[2:]) == {Message(REQUEST, GUEST, HOST)}
    assert DISCOVER not in server.log[1:] and "any more" not in guest.text


def test_a_refused_renewal_takes_the_address_away(leased):
    guest, server = leased(lease=6)
    with guest.redis(30) as client:
        client.call("PING")
        server.refuse = True
        guest.wait_console("en0 has no IPv4 address any more", 20)
        ends(client)
        # Offered and refused without end: it is asked for about once a second.
        before = len(server.log)
        time.sleep(3)
        assert 2 <= len(server.log) - before <= 10
        server.refuse = False
    starts_anew(guest, server)


def test_without_an_answer_everybody_is_asked(leased):
    """T1 goes by, and at T2 somebody else answers."""
    guest, server = leased(lease=8)
    with guest.redis(30) as client:
        server.mute = {HOST}
        until(lambda: Message(REQUEST, GUEST, EVERYBODY) in server.heard)
        assert server.heard[-2] == Message(REQUEST, GUEST, HOST)
        time.sleep(2)  # the first lease is over
        assert client.call("PING") == "PONG"
    assert "any more" not in guest.text


def test_a_lease_ends(leased):
    guest, server = leased(lease=4)
    with guest.redis(30) as client:
        client.call("PING")
        server.mute = {HOST, EVERYBODY}
        guest.wait_console("en0 has no IPv4 address any more", 20)
        ends(client)
        until(lambda: server.log[-1] == DISCOVER)
        server.mute = set()
    starts_anew(guest, server)


def test_another_address(leased):
    guest, server = leased(lease=6)
    with guest.redis(30) as client:
        client.call("PING")
        server.moves, server.guest = True, OTHER
        guest.wait_console(rf"en0 has {OTHER}/24", 20)
        ends(client)
    guest.address = (OTHER, guest.address[1])
    guest.wait_redis(30)
    assert "any more" not in guest.text


def seconds(n):
    return struct.pack("!I", n)


RUBBISH = (
    [{"address": a} for a in ("0.0.0.0", "127.0.0.1", "224.0.0.5", EVERYBODY, "172.44.0.255",
                              "172.44.0.0")] +
    [{MASK: m} for m in (bytes(4), b"\xff\x00\xff\x00", b"\0\0\0\xff", b"\xff\xff\xff", b"")] +
    [{LEASE: v} for v in (None, seconds(0), b"\0", seconds(9) * 2)] +
    [{ROUTER: b"\x0a"}, {SERVER: b"\1\2\3"}, {T1: b"\1"}, {53: b""}])


def test_rubbish_is_not_taken(leased):
    """Offers and confirmations that cannot be meant, each before one that can."""
    guest, server = leased(lease=6)
    server.rubbish = [r | {"address": OTHER} if "address" not in r else r for r in RUBBISH]
    with guest.redis(30) as client:
        until(lambda: server.log.count(REQUEST) >= 3)  # rubbish confirms a renewal
        assert client.call("PING") == "PONG"
        server.refuse = True
        guest.wait_console("en0 has no IPv4 address any more", 20)
        server.refuse = False
    starts_anew(guest, server)  # rubbish offers
    assert OTHER not in guest.text


@pytest.mark.full
@pytest.mark.parametrize("times", [{T1: seconds(0)}, {T1: seconds(5), T2: seconds(2)},
                                   {T2: seconds(100)}, {T1: seconds(7)}])
def test_times_in_no_order_are_not_used(leased, times):
    """T1, T2 and the lease follow each other, or the usual parts of the lease count."""
    guest, server = leased(lease=6)
    server.always = times
    until(lambda: server.log.count(REQUEST) >= 2)
    before = len(server.log)
    time.sleep(9.5)
    assert 2 <= len(server.log) - before <= 4
    assert set(server.heard[2:]) == {Message(REQUEST, GUEST, HOST)}
