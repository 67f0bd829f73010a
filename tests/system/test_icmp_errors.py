"""ICMP errors: what those that come in change (RFC 5461, RFC 5927), which ones go out and how many
(RFC 1122, 3.2.2; RFC 4443, 2.4), and IPv6 redirects (RFC 4861, 8.1)."""

import contextlib
import errno
import re
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply,  # noqa: E402
                                ICMPv6EchoRequest, ICMPv6ND_RA, ICMPv6ND_Redirect,
                                ICMPv6NDOptDstLLAddr, ICMPv6ParamProblem,
                                IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN)
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from tests.system.guest import MAC  # noqa: E402
from tests.system.path_peer import ECHO, SHORT, Path, path, paths  # noqa: E402, F401
from tests.system.raw_peer import OUR_MAC, Connection, Peer6, payload_of  # noqa: E402

# Kind and code, and what Linux makes of it; for IPv4 and IPv6.
FINAL = {4: [("unreachable", 3, errno.ECONNREFUSED), ("unreachable", 0, errno.ENETUNREACH),
             ("unreachable", 13, errno.EHOSTUNREACH), ("exceeded", 0, errno.EHOSTUNREACH),
             ("problem", 0, errno.EPROTO)],
         6: [("unreachable", 4, errno.ECONNREFUSED), ("unreachable", 0, errno.ENETUNREACH),
             ("unreachable", 1, errno.EACCES), ("exceeded", 0, errno.EHOSTUNREACH),
             ("problem", 1, errno.EPROTO)]}


def everything(path):
    codes = range(17) if path.version == 4 else range(8)
    return [("unreachable", code) for code in codes if (path.version, code) != (4, 4)] + \
        [("exceeded", 0), ("exceeded", 1), ("problem", 0), ("problem", 1)]


def test_a_connection_lives_on(path):
    """Whatever is reported of something that is in flight; it is sent again."""
    c = path.connection()
    c.send("PA", b"question")
    answer = c.wait(lambda t: payload_of(t.underlayer) == b"question")
    assert answer
    for kind, code in everything(path):
        path.error(kind, path.segment(c, size=68), code)
    assert c.wait(lambda t: payload_of(t.underlayer) == b"question")
    c.ack = (c.ack + 8) & 0xFFFFFFFF
    c.send("A")
    assert c.echoes(b"more")
    c.send("R")


def test_why_a_connection_ended(path):
    """What was reported of it is why, if nothing arrives after that."""
    already = path.guest.text.count("echo ended")
    for forged in (False, True):
        c = path.connection()
        c.send("PA", b"question")
        assert c.wait(lambda t: payload_of(t.underlayer) == b"question")
        path.error("unreachable", path.segment(c, offset=8 * forged, size=68),
                   code=1 if path.version == 4 else 3)
    path.guest.wait_console(rf"(?s)(echo ended: \d+\s.*?){{{already + 2}}}", 20)
    ends = re.findall(r"echo ended: (\d+)", path.guest.text)[already:]
    assert sorted(map(int, ends)) == [errno.ETIMEDOUT, errno.EHOSTUNREACH]


def opening(path):
    """The SYN of a connection from the guest."""
    port = path.peer.port()
    path.ask("how")  # now the guest knows the way
    assert path.ask(f"connect {port}") == 0
    syn = next(p for p in path.peer.skipped if TCP in p and p[TCP].dport == port)
    c = Connection(path.peer, syn[TCP].sport, our_port=port)
    c.ack = syn[TCP].seq
    return c


@pytest.mark.parametrize("which", range(5))
def test_a_connection_that_is_being_opened(path, which):
    kind, code, meaning = FINAL[path.version][which]
    c = opening(path)
    for offset in (1, -1, 1 << 31):
        path.error(kind, path.segment(c, offset=offset, size=60), code)
    path.error(kind, path.segment(c, size=60, dport=c.our_port ^ 1), code)
    assert path.ask("error") == 0
    path.error(kind, path.segment(c, size=60), code)
    assert path.ask("error") == meaning
    c.send("SA", ack=c.ack + 1)
    assert c.wait(lambda t: t.flags.R), "it is still there"


def half_open(path):
    c = Connection(path.peer, ECHO)
    c.send("S")
    answer = c.wait(lambda t: t.flags.S and t.flags.A)
    c.ack = answer.seq
    return c


def test_a_half_open_connection(path):
    """Goes when its answer is said not to arrive; only who has seen the number can say so."""
    code = 1 if path.version == 4 else 3
    c = half_open(path)
    for offset in (1, -1):
        path.error("unreachable", path.segment(c, offset=offset, size=60), code)
    c.ack = (c.ack + 1) & 0xFFFFFFFF
    c.send("A")
    assert c.echoes(b"there")
    c.send("R")
    c = half_open(path)
    path.error("unreachable", path.segment(c, size=60), code)
    c.ack = (c.ack + 1) & 0xFFFFFFFF
    c.send("A")
    assert c.wait(lambda t: t.flags.R), "it is still there"


def test_a_connected_datagram_socket(path):
    port = path.peer.port()
    assert path.ask(f"udp {port} 1") == 0
    assert path.ask("send 10") == 0
    hard, soft = (3, 1) if path.version == 4 else (4, 3)
    for quoted in (path.datagram(2002, port, 10), path.datagram(2001, port + 1, 10)):
        path.error("unreachable", quoted, hard)
    path.error("unreachable", path.datagram(2001, port, 10), soft)
    assert path.ask("error") == 0
    path.error("unreachable", path.datagram(2001, port, 10), hard)
    assert path.ask("error") == errno.ECONNREFUSED
    assert path.ask("send 10") == 0


# --- what we send


def told(path, packet, timeout=SHORT):
    """How many errors the guest sends about one packet."""
    path.peer.send(packet)
    return path.peer.wait(lambda p: ICMP in p and p[ICMP].type != 0 or ICMPv6DestUnreach in p or
                          ICMPv6ParamProblem in p, timeout) is not None


def to_nobody(path, **fields):
    return path.peer.ip(**fields) / UDP(sport=path.peer.port(), dport=4321) / Raw(b"x" * 20)


def test_errors_have_a_rate(path):
    """Ten at once to one destination, ten a second."""
    packets = [bytes(Ether(src=OUR_MAC, dst=MAC) / to_nobody(path)) for _ in range(150)]
    assert told(path, to_nobody(path), 10)
    begun = time.monotonic()
    for packet in packets:
        path.peer.socket.send(packet)
    answers = sum(1 for p in path.peer.packets(0.5) if ICMP in p or ICMPv6DestUnreach in p)
    limit = 10 + 10 * (time.monotonic() - begun) + 1
    assert 5 <= answers <= limit
    assert path.ask("how") is not None


def test_echoes_have_a_rate(path):
    """A thousand a second, two hundred at once: enough for everybody but a flood."""
    path.ask("how")  # now the guest knows the way
    request = ICMP(type=8, id=3) if path.version == 4 else ICMPv6EchoRequest(id=3)
    frame = bytes(Ether(src=OUR_MAC, dst=MAC) / path.peer.ip() / request / Raw(b"x" * 20))
    begun = time.monotonic()
    for _ in range(20):
        for _ in range(100):
            path.peer.socket.send(frame)
        time.sleep(0.005)
    answers = sum(1 for p in path.peer.packets(0.4)
                  if ICMP in p and p[ICMP].type == 0 or ICMPv6EchoReply in p)
    taken = time.monotonic() - begun
    assert 100 <= answers <= 200 + 1000 * taken + 1


NOT_ONE_HOST = {4: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
                6: ["::", "ff02::1"]}


def test_nobody_is_told(path):
    """Of what was sent to many, by nobody, or about an error."""
    assert told(path, to_nobody(path), 10)  # who asks properly is, and is found now
    broadcast = Ether(src=OUR_MAC, dst="ff:ff:ff:ff:ff:ff")
    path.peer.send_frame(broadcast / to_nobody(path))
    for source in NOT_ONE_HOST[path.version]:
        path.peer.send(to_nobody(path, src=source))
    if path.version == 4:
        path.peer.send_frame(broadcast / to_nobody(path, dst="255.255.255.255"))
        path.peer.send(to_nobody(path, dst="224.0.0.1"))
        path.peer.send(path.peer.ip(frag=100, proto=17) / Raw(b"x" * 20))
    else:
        # An option that asks for an error, in front of an error.
        strange = IPv6ExtHdrDestOpt(options=[PadN(otype=0xC7, optdata=b"x" * 4)])
        path.peer.send(path.peer.ip() / strange / ICMPv6DestUnreach() / Raw(b"x" * 48))
        path.peer.send_frame(Ether(src=OUR_MAC, dst="33:33:00:00:00:01") /
                             to_nobody(path, dst="ff02::1"))
    seen = [f for f in path.peer.frames(SHORT)
            if ICMP in f or ICMPv6DestUnreach in f or ICMPv6ParamProblem in f]
    assert not seen, [f.summary() for f in seen]
    assert told(path, to_nobody(path), 10)


def test_fragments_to_many(paths):
    """First fragments that are given up, because too many more come, are told of; those that were
    sent to all hosts of the network are not."""
    with contextlib.closing(Path(paths, 4)) as path:
        path.ask("how")  # now the guest knows the way

        def told_of_fragments(mac, to):
            fragment = path.peer.ip(dst=to, flags="MF", proto=17) / Raw(b"x" * 64)
            for number in range(400):  # more than are kept
                fragment.id = number
                path.peer.send_frame(Ether(src=OUR_MAC, dst=mac) / fragment)
            return any(ICMP in p and p[ICMP].type == 11 for p in path.peer.packets(SHORT))

        assert not told_of_fragments("ff:ff:ff:ff:ff:ff", path.everybody)
        assert told_of_fragments(MAC, path.theirs)


@pytest.mark.parametrize("fragmented", [False, True])
def test_what_is_quoted(paths, fragmented):
    """The packet from its first octet on, and where in it the problem is (RFC 4443, 3.4)."""
    strange = IPv6ExtHdrDestOpt(options=[PadN(otype=0xC7, optdata=b"x" * 4)])
    with contextlib.closing(Path(paths, 6)) as path:
        path.ask("how")
        packet = path.peer.ip() / strange / ICMPv6EchoRequest(data=b"y" * 48)
        whole = bytes(packet)
        if fragmented:
            for at, more in ((48, 0), (0, 1)):  # the second completes it, and is not the last
                path.peer.send(path.peer.ip(nh=44) / IPv6ExtHdrFragment(nh=60, offset=at // 8, m=more) /
                               Raw(whole[40 + at:][:48 if more else None]))
        else:
            path.peer.send(packet)
        answer = path.peer.wait(lambda p: ICMPv6ParamProblem in p)
        assert answer[ICMPv6ParamProblem].ptr == 40 + 2
        assert bytes(answer[ICMPv6ParamProblem])[8:] == whole


# --- redirects

FAR = "2001:db8:5::5"
ROUTER, OTHER, BETTER = "fe80::9", "fe80::a", "fe80::b"
BETTER_MAC = "02:00:00:00:00:0b"


@pytest.fixture
def router(paths):
    """A router of ours, by which the guest reaches FAR."""
    with contextlib.closing(Peer6(paths, address=FAR)) as peer:
        advertise(peer, 1800)
        yield peer
        advertise(peer, 0)


def advertise(peer, lifetime):
    peer.send_frame(Ether(src=OUR_MAC, dst="33:33:00:00:00:01") /
                    IPv6(src=ROUTER, dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=lifetime))


def redirect(peer, source=ROUTER, hlim=255, target=BETTER, destination=FAR, code=0, option=None):
    peer.send(IPv6(src=source, dst=peer.ip().dst, hlim=hlim) /
              ICMPv6ND_Redirect(tgt=target, dst=destination, code=code) /
              (ICMPv6NDOptDstLLAddr(lladdr=BETTER_MAC) if option is None else Raw(option)))


def way_to_far(peer):
    """The hardware address that the guest's packets to FAR go to."""
    peer.send(peer.ip() / ICMPv6EchoRequest(id=5, seq=peer.port()))
    for frame in peer.frames(20):
        peer.answer_solicitation(frame, address=ROUTER)
        if ICMPv6EchoReply in frame and frame[IPv6].dst == FAR:
            return frame[Ether].dst
    return None


WRONG_REDIRECTS = {
    "from another router": {"source": OTHER},
    "from a global address": {"source": "fd00:44::9"},
    "from beyond the link": {"hlim": 254},
    "with a code": {"code": 1},
    "to a global address": {"target": "fd00:44::77"},
    "to a group": {"target": "ff02::1"},
    "of a group": {"destination": "ff02::5"},
    "of somebody never sent to": {"destination": "2001:db8:7::7"},
    "with an option of no length": {"option": b"\2\0" + b"\2" * 6},
    "with an option beyond the end": {"option": b"\2\2" + b"\2" * 6},
}


def test_redirects(router):
    assert way_to_far(router) == OUR_MAC
    for how, fields in WRONG_REDIRECTS.items():
        redirect(router, **fields)
        assert way_to_far(router) == OUR_MAC, how
    redirect(router)
    assert way_to_far(router) == BETTER_MAC
