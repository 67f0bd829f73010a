"""Path MTUs and reports about them (RFC 1191, RFC 8201, RFC 5927): what is believed, and that TCP
follows at once and is never cut into fragments."""

import contextlib
import errno
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import UDP  # noqa: E402
from scapy.layers.inet6 import (ICMPv6ND_RA, ICMPv6NDOptMTU, IPv6,  # noqa: E402
                                IPv6ExtHdrFragment)
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from tests.system.path_peer import (ECHO, LEAST, SOURCE_DATA, STREAM, Path, path,  # noqa: E402, F401
                                    paths)
from tests.system.raw_peer import OUR_MAC, payload_of  # noqa: E402


def finish(path, c):
    """All that was under way arrives in spite of everything."""
    assert path.fetch(c, len(SOURCE_DATA))[0] == SOURCE_DATA
    c.send("R")


@pytest.mark.parametrize("mtu", [0, 68, 551])
def test_less_than_the_least(path, mtu):
    """Of IPv6 is nothing; of IPv4 it is the least."""
    c = path.in_flight()
    path.too_big(path.segment(c), 1279 if mtu == 551 and path.version == 6 else mtu)
    assert path.ask("mss") == path.mss(LEAST[4] if path.version == 4 else 1500)
    finish(path, c)


@pytest.mark.parametrize("mtu", [576, 1280, 1400])
def test_what_is_too_long_goes_again_at_once(path, mtu):
    """Whatever was longer and in flight, in segments that fit, and nothing longer any more."""
    if mtu < LEAST[path.version]:
        pytest.skip("not of this family")
    c = path.in_flight()
    path.too_big(path.segment(c), mtu)
    # A time-out would bring one segment only, as long as nothing is acknowledged.
    again = set()
    while len(again) < 5:
        t = c.wait(lambda t: 0 < len(payload_of(t.underlayer)) <= path.mss(mtu), 5)
        assert t, f"only {len(again)} segments came again"
        again.add(t.seq)
    assert min(again, key=lambda seq: (seq - c.ack) & 0xFFFFFFFF) == c.ack
    assert path.ask("mss") == path.mss(mtu)
    assert path.ask("mtu") == mtu
    data, sizes = path.fetch(c, len(SOURCE_DATA))
    assert data == SOURCE_DATA
    assert max(sizes) == path.mss(mtu)
    other = path.connection(STREAM)  # knows it from the beginning
    assert dict(other.syn.options)["MSS"] == path.mss(1500)  # but the way back is another
    assert max(path.fetch(other, 10000)[1]) == path.mss(mtu)
    for connection in (c, other):
        connection.send("R")


def test_other_connections(path):
    """To the same place learn of it, too; until then their segments go as they are."""
    first, second = path.in_flight(), path.connection(STREAM)
    path.too_big(path.segment(first), 1350)
    path.fetch(second, 30000)
    deadline = time.monotonic() + 20
    while path.ask("mss") != path.mss(1350) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.ask("mss") == path.mss(1350)
    assert path.fetch(first, 20000)[0][:20000] == SOURCE_DATA[:20000]
    path.fetch(second, 5000)  # what was in flight then
    # Most often they are as long as the path takes. Now and then each goes on being made for the old
    # path and is cut in two.
    assert 1000 < max(path.fetch(second, 20000)[1]) <= path.mss(1350)
    for c in (first, second):
        c.send("R")


def test_one_in_the_middle(path):
    """The number may be that of any segment in flight; a second, narrower place is learnt, too."""
    c = path.in_flight()
    path.too_big(path.segment(c, offset=path.mss(1500)), 1400)
    assert path.ask("mss") == path.mss(1400)
    path.too_big(path.segment(c, offset=5 * path.mss(1500)), 1300)
    assert path.ask("mss") == path.mss(1300)
    path.too_big(path.segment(c), 1450)  # no path becomes wider by a report
    assert path.ask("mss") == path.mss(1300)
    finish(path, c)


FORGERIES = {
    "our port": lambda path, c: path.segment(c, sport=c.port + 1),
    "their port": lambda path, c: path.segment(c, dport=c.our_port ^ 1),
    "before the window": lambda path, c: path.segment(c, offset=-1),
    "long before": lambda path, c: path.segment(c, offset=-100000),
    "not sent yet": lambda path, c: path.segment(c, offset=25000),
    "not there yet": lambda path, c: path.segment(c, offset=100000),
    "far beyond": lambda path, c: path.segment(c, offset=1 << 31),
    "other source": lambda path, c: path.segment(c).replace(path.address(path.theirs),
                                                            path.address(path.ours)),
    "other destination": lambda path, c: path.segment(c).replace(path.address(path.ours),
                                                                 path.address(path.nobody)),
    "cut off": lambda path, c: path.segment(c)[:-13],
    "nothing": lambda path, c: b"",
}


def test_forged(path):
    c = path.in_flight()
    for how, quote in FORGERIES.items():
        path.too_big(quote(path, c), 1300)
        assert path.ask("mss") == path.mss(1500), how
    path.error("too big", path.segment(c), mtu=1300, checksum=0x1234)
    assert path.ask("mss") == path.mss(1500), "a wrong checksum"
    path.error("too big", path.segment(c), mtu=1300, to=path.everybody)
    assert path.ask("mss") == path.mss(1500), "to everybody"
    path.too_big(path.segment(c), 1300)
    assert path.ask("mss") == path.mss(1300), "and what is true is believed"
    finish(path, c)


def test_nothing_so_long_was_sent(path):
    """A report about a small segment cannot be true."""
    c = path.connection()
    c.send("PA", b"x" * 100)
    assert c.wait(lambda t: len(payload_of(t.underlayer)) == 100)  # and is not acknowledged
    before = path.ask("mss")
    path.too_big(path.segment(c), 1280)
    assert path.ask("mss") == before
    c.send("R")


# --- datagrams

DONT, WANT, DO, PROBE = range(4)


def echoed(path, port, size):
    """The packets in which a datagram comes back that the guest's socket, connected to nobody,
    echoes; and if they may be cut."""
    path.peer.send(path.peer.ip() / UDP(sport=port, dport=ECHO, chksum=0 if path.version == 4
                                        else None) / Raw(b"x" * size))
    return path.sizes_of(size, path.peer.packets(5))


def test_datagrams(path):
    """What was reported to be too big is cut from then on; and only if it was sent."""
    port, headers = path.peer.port(), path.mss(0) * -1 - 12  # of IP and UDP
    assert echoed(path, port, 1400) == ([1400 + headers], False)
    for quoted in (path.datagram(ECHO, port ^ 1, 1400), path.datagram(ECHO + 1, port, 1400),
                   path.datagram(ECHO, port, 1400)[:-1]):
        path.too_big(quoted, 1300)
    assert echoed(path, port, 1400) == ([1400 + headers], False)
    path.too_big(path.datagram(ECHO, port, 1400), 1300)
    sizes, may_be_cut = echoed(path, port, 1400)
    assert len(sizes) == 2 and max(sizes) <= 1300 and may_be_cut == (path.version == 4)
    assert echoed(path, port, 1300 - headers) == ([1300], False)


def put_together(path, size, packets):
    """A datagram from its fragments; None if they do not make one."""
    whole, seen, ends = bytearray(size + 8), 0, set()
    for p in packets:
        if path.version == 4 and p.proto == 17:
            piece, at, more = bytes(p.payload)[:p.len - 20], p.frag * 8, p.flags.MF
        elif path.version == 6 and p.nh == 44:
            f = p[IPv6ExtHdrFragment]
            piece, at, more = bytes(f.payload)[:p.plen - 8], f.offset * 8, f.m
        else:
            continue
        whole[at:at + len(piece)] = piece
        seen += len(piece)
        if not more:
            ends.add(at + len(piece))
    complete = seen == len(whole) and ends == {seen} and path.sum_is_right(bytes(whole))
    return bytes(whole[8:]) if complete else None


@pytest.mark.parametrize("mtu", [1301, 1303, 1304, 1399])
def test_any_mtu(path, mtu):
    """Fragments are of eights, but the last; and only that says that it is."""
    port, room = path.peer.port(), mtu - (20 if path.version == 4 else 48)
    assert path.ask(f"udp {port} {WANT}") == 0
    assert path.ask("send 1450") == 0
    path.too_big(path.datagram(2001, port, 1450), mtu)
    assert path.ask("error") == errno.EMSGSIZE
    for size in (1450, room // 8 * 8 + room - 8, room // 8 * 16, 20000):
        assert path.ask(f"send {size}") == 0
        assert put_together(path, size, path.peer.skipped) == bytes(i % 251 for i in range(size))


def test_an_application_that_wants_to_know(path):
    """ip(7), IP_MTU_DISCOVER."""
    port, headers = path.peer.port(), path.mss(0) * -1 - 12
    most = 1300 - headers
    assert path.ask(f"udp {port} {WANT}") == 0
    assert path.ask("path") == 1500
    assert path.ask("send 1400") == 0
    path.too_big(path.datagram(2001, port, 1400), 1300)
    assert path.ask("error") == errno.EMSGSIZE
    assert path.ask("path") == 1300

    def sent(how, size):
        assert path.ask(f"udp {port} {how}") == 0
        assert path.ask("how") == how
        answer = path.ask(f"send {size}")
        return answer or path.sizes_of(size, path.peer.skipped)

    assert sent(DO, most + 1) == errno.EMSGSIZE
    assert sent(DO, most) == ([1300], False)
    assert sent(PROBE, 1400) == ([1400 + headers], False)
    assert sent(PROBE, 1500) == errno.EMSGSIZE
    assert len(sent(WANT, 1400)[0]) == 2
    sizes, may_be_cut = sent(DONT, 1000)
    assert sizes == [1000 + headers] and may_be_cut == (path.version == 4)
    assert path.ask(f"udp {port} 6") == errno.EINVAL


def test_a_router_announces_the_mtu(paths):
    """RFC 4861, 6.3.4: the connections there are follow, down and up, within the interface's."""
    with contextlib.closing(Path(paths, 6)) as path:
        c = path.connection(STREAM)
        for announced, mtu in ((1400, 1400), (1279, 1400), (9000, 1500)):
            path.peer.send_frame(Ether(src=OUR_MAC, dst="33:33:00:00:00:01") /
                                 IPv6(src="fe80::9", dst="ff02::1", hlim=255) /
                                 ICMPv6ND_RA(routerlifetime=0) / ICMPv6NDOptMTU(mtu=announced))
            deadline = time.monotonic() + 20
            while path.ask("mss") != path.mss(mtu) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert path.ask("mss") == path.mss(mtu)
        c.send("R")
