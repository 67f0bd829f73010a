"""Listeners from outside: who waits for a full backlog, and a flood of one port."""

import contextlib

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import UDP  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from tests.system.net_peer import HOLD, NARROW, SOURCE, guest, peer  # noqa: E402, F401
from tests.system.raw_peer import Connection, Peer, payload_of  # noqa: E402

# --- a full backlog (core/net/backlog.hh)


def confirmed(peer):
    c = Connection(peer, NARROW)
    c.open()
    return c


def test_one_line_for_all_who_wait(peer):
    """Connections from outside and from the machine itself are accepted in order of arrival."""
    outside = [confirmed(peer)]
    arrived = [outside[0].our_port]
    for _ in range(2):
        arrived.append(peer.tell("call"))
        outside.append(confirmed(peer))
        arrived.append(outside[-1].our_port)
    assert [peer.tell("accept") for _ in range(6)] == arrived + [-1]
    for c in outside:
        c.send("R")


def test_a_reset_makes_room(peer):
    """Nothing is there to be accepted then that would make room again."""
    first = confirmed(peer)
    waiting = [peer.tell("call"), confirmed(peer)]
    first.send("R")
    assert peer.tell("accept") == waiting[0]
    assert peer.tell("accept") == waiting[1].our_port
    assert peer.tell("accept") == -1
    waiting[1].send("R")


def test_a_reset_leaves_the_line(peer):
    first, second, third = (confirmed(peer) for _ in range(3))
    second.send("R")
    assert [peer.tell("accept") for _ in range(3)] == [first.our_port, third.our_port, -1]
    for c in (first, third):
        c.send("R")


def test_a_closed_listener_refuses_who_waits(peer):
    accepted, waiting = confirmed(peer), confirmed(peer)
    half_open = Connection(peer, NARROW)
    half_open.send("S")
    half_open.ack = (half_open.wait(lambda t: t.flags.S and t.flags.A).seq + 1) & 0xFFFFFFFF
    peer.send(peer.ip() / UDP(sport=peer.port(), dport=5000) / Raw(b"reopen"))
    assert accepted.wait(lambda t: t.flags.R)
    assert waiting.wait(lambda t: t.flags.R)
    half_open.send("A")
    assert half_open.wait(lambda t: t.flags.R)
    c = confirmed(peer)
    assert peer.tell("accept") == c.our_port
    c.send("R")


# --- a flood


def test_a_flood_of_one_port_leaves_the_others_alone(boot):
    """Far more half-open connections than there are records for: the flooded port answers with
    cookies, which know eight segment sizes and are sent once. Another port does neither."""
    guest = boot("system-net_peer", "tap", limit=120)
    guest.wait_console("ready")
    with contextlib.closing(Peer(guest)) as peer:
        assert peer.ping()
        for _ in range(700):
            Connection(peer, HOLD).send("S")
        options = [("MSS", 1400), ("SAckOK", b""), ("WScale", 3)]
        for port, asked_again in ((SOURCE, True), (HOLD, False)):
            c = Connection(peer, port)
            c.send("S", options=options)
            first = c.wait(lambda t: t.flags.S and t.flags.A)
            assert first.options[1:] == [("NOP", None), ("WScale", 7), ("NOP", None), ("NOP", None),
                                         ("SAckOK", b"")]
            assert bool(c.wait(lambda t: t.flags.S and t.flags.A, 3)) == asked_again, port
        c = Connection(peer, SOURCE)
        c.open(options=options)
        sent = c.wait(lambda t: len(payload_of(t.underlayer)) >= 1000)
        assert sent and len(payload_of(sent.underlayer)) % 1400 == 0
