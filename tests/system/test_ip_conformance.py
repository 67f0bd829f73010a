"""IP, ICMP and UDP from outside, packet by packet: checksums, errors, fragments, options and headers
that lie. "Nothing comes" is waited for shortly, what must come long."""

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from tests.system.net_peer import ECHO, SHORT, SOURCE, SOURCE_DATA, echo, guest, peer  # noqa: E402, F401
from tests.system.raw_peer import ADDRESS, Connection, payload_of  # noqa: E402

# --- checksums


def test_wrong_checksums_are_noticed(peer, echo):
    assert echo.echoes(b"1")
    echo.send("PA", b"bad", chksum=0x1234, move=False)
    assert echo.wait(timeout=SHORT) is None, "a TCP checksum was not looked at"
    assert echo.echoes(b"good")
    peer.send(IP(src=ADDRESS, dst=peer.ip().dst, chksum=0x1234) / ICMP(type=8, seq=7) / Raw(b"xx"))
    assert not peer.wait(lambda p: ICMP in p, SHORT), "an IP checksum was not looked at"
    assert not peer.ping(chksum=0x1234, timeout=SHORT), "an ICMP checksum was not looked at"
    assert peer.ping()


def udp_echo(peer, timeout=20, data=b"datagram", **fields):
    port = peer.port()
    peer.send(peer.ip() / UDP(sport=port, dport=ECHO, **fields) / Raw(data))
    answer = peer.wait(lambda p: UDP in p and p[UDP].dport == port, timeout)
    return answer is not None and bytes(answer[UDP].payload)[:len(data)] == data


def test_udp_checksums(peer):
    assert udp_echo(peer)
    assert not udp_echo(peer, SHORT, chksum=0x1234), "a UDP checksum was not looked at"
    assert udp_echo(peer, chksum=0), "a datagram without a checksum is right over IPv4"


def test_udp_lengths_that_lie(peer):
    for length in (0, 7, 9, 100, 65535):
        udp_echo(peer, 0.05, len=length)
    assert udp_echo(peer, data=b"")
    assert udp_echo(peer)


# --- ICMP


def icmp_about(peer, c, **fields):
    quoted = IP(src=peer.ip().dst, dst=ADDRESS) / TCP(sport=c.port, dport=c.our_port, seq=c.ack)
    peer.send(peer.ip() / ICMP(**fields) / Raw(bytes(quoted)[:28]))


@pytest.mark.parametrize("code", range(4))
def test_unreachable_is_no_end_for_a_connection(peer, echo, code):
    """RFC 1122, 4.2.3.9, RFC 5461: soft errors, and a blind attacker's tool."""
    assert echo.echoes(b"1")
    icmp_about(peer, echo, type=3, code=code)
    assert echo.echoes(b"2")


def test_quench_time_exceeded_and_parameter_problem(peer, echo):
    for kind in (4, 11, 12):
        icmp_about(peer, echo, type=kind, code=0)
    assert echo.echoes(b"1")


def test_path_mtu(peer):
    """Told that the path takes 576 bytes: packets are that small from now on, or routers are
    allowed to cut them."""
    c = Connection(peer, SOURCE)
    c.open(options=[("MSS", 1460)])
    first = c.wait(lambda t: len(t.payload) > 600)
    assert first
    may_be_cut = not first.underlayer.flags.DF
    icmp_about(peer, c, type=3, code=4, nexthopmtu=576)
    if not may_be_cut:
        c.peer.wait(lambda p: False, SHORT)  # what was on its way
        again = c.wait(lambda t: t.seq == c.ack and len(t.payload))
        assert len(payload_of(again.underlayer)) <= 536
    assert c.receive(32768) == SOURCE_DATA


@pytest.mark.parametrize("mtu", [0, 1, 20, 40, 67, 68, 1500, 65535])
def test_absurd_path_mtu(peer, mtu):
    c = Connection(peer, SOURCE)
    c.open()
    icmp_about(peer, c, type=3, code=4, nexthopmtu=mtu)
    assert c.receive(32768) == SOURCE_DATA


# --- fragments


def pieces(peer, size, piece, number):
    packet = peer.ip(id=number) / ICMP(type=8, id=2, seq=number) / Raw(bytes(
        i % 251 for i in range(size)))
    return fragment(packet, piece)


def answered(peer, number, timeout=20):
    return peer.wait(lambda p: ICMP in p and p.frag == 0 and p[ICMP].type == 0 and
                     p[ICMP].seq == number, timeout) is not None


@pytest.mark.parametrize("piece", [8, 16, 200, 1480])
@pytest.mark.parametrize("order", ["straight", "reversed", "doubled"])
def test_fragments(peer, piece, order):
    number = peer.port()
    parts = pieces(peer, min(3000, piece * 40), piece, number)
    if order == "reversed":
        parts = parts[::-1]
    for part in parts * (2 if order == "doubled" else 1):
        peer.send(part)
    assert answered(peer, number)


def test_a_missing_fragment(peer):
    number = peer.port()
    for part in pieces(peer, 3000, 1000, number)[:-1]:
        peer.send(part)
    assert not answered(peer, number, SHORT)
    assert peer.ping()


def test_overlapping_fragments(peer):
    """Teardrop and its kin: answered or dropped, and no harm."""
    for offsets in ([0, 3], [0, 1, 2], [10, 5, 0], [0, 0, 0], [0, 8190, 1], [8191, 0]):
        number = peer.port()
        whole = bytes(ICMP(type=8, id=2, seq=number) / Raw(b"y" * 200))
        for n, at in enumerate(offsets):
            last = n == len(offsets) - 1
            peer.send(peer.ip(id=number, proto=1, frag=at, flags=0 if last else "MF") /
                      Raw(whole[at * 8 % 100:][:96]))
    assert peer.ping()


def test_fragments_that_never_end(peer):
    """A thousand datagrams of which only the beginning comes: others get through."""
    for number in range(1000):
        peer.send(peer.ip(id=number, proto=17, flags="MF") / Raw(b"z" * 800))
        if number % 100 == 99:
            assert peer.ping()  # paced: the tap device drops what the guest does not take in time
    number = peer.port()
    for part in pieces(peer, 3000, 1000, number):
        peer.send(part)
    assert answered(peer, number)


def test_a_connection_in_fragments(peer, echo):
    data = bytes(range(200)) * 5
    segment = peer.ip(id=77) / TCP(sport=echo.our_port, dport=ECHO, seq=echo.seq, ack=echo.ack,
                                   flags="PA", window=65535) / Raw(data)
    for part in fragment(segment, 64):
        peer.send(part)
    echo.seq = (echo.seq + len(data)) & 0xFFFFFFFF
    assert echo.receive(len(data)) == data


# --- options


@pytest.mark.parametrize("raw", [
    b"\x02\x00\x00\x00", b"\x02\x01\x00\x00", b"\x02\x04\x00\x00", b"\x02\x04\x00\x01",
    b"\x02\x04\xff\xff", b"\x02", b"\x03\x03\xff\x00", b"\x03\x00\x00\x00", b"\x05\x0a" + b"\xff" * 8,
    b"\x05\x02\x08\x00", b"\x08\x0a" + b"\xff" * 8 + b"\0\0", b"\xff\xff\xff\xff", b"\x01" * 40,
    b"\x00\x02\x04\x05", b"\x1e\x28" + b"\xaa" * 38], ids=lambda raw: raw[:4].hex())
def test_garbage_in_options(peer, raw):
    """In the SYN and in a connection's segments: it works regardless."""
    raw += b"\0" * (-len(raw) % 4)

    def send(c, flags, data=b"", move=True):
        header = bytes(TCP(sport=c.our_port, dport=c.port, seq=c.seq, ack=c.ack, flags=flags,
                           window=65535, dataofs=5 + len(raw) // 4))[:20]
        segment = bytearray(header + raw + data)
        whole = IP(bytes(peer.ip(proto=6) / Raw(bytes(segment))))
        del whole[TCP].chksum
        peer.send(whole)
        if move:
            c.seq = (c.seq + len(data) + flags.count("S")) & 0xFFFFFFFF

    c = Connection(peer, ECHO)
    send(c, "S")
    answer = c.wait(lambda t: t.flags.S and t.flags.A)
    assert answer, "no SYN-ACK"
    c.ack = (answer.seq + 1) & 0xFFFFFFFF
    c.send("A")
    send(c, "PA", b"with options")
    assert c.receive(12) == b"with options"
    c.send("R")


@pytest.mark.parametrize("length", [0, 5, 10, 15])
def test_tcp_header_length_that_lies(peer, echo, length):
    echo.send("PA", b"abcd", dataofs=length, move=False)
    if length == 5:
        echo.seq += 4
        assert echo.receive(4) == b"abcd"
    assert echo.echoes(b"still")


@pytest.mark.parametrize("fields", [{"ihl": 0}, {"ihl": 4}, {"ihl": 15}, {"version": 5},
                                    {"version": 0}, {"len": 0}, {"len": 19}, {"len": 21},
                                    {"len": 65535}, {"ttl": 0}, {"proto": 255}],
                         ids=lambda f: "-".join(f"{k}{v}" for k, v in f.items()))
def test_ip_headers_that_lie(peer, fields):
    for _ in range(3):
        peer.send(peer.ip(**fields) / UDP(sport=peer.port(), dport=ECHO) / Raw(b"x" * 30))
    assert udp_echo(peer)


def test_addresses_nobody_has(peer):
    for source in ("127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "172.44.0.255",
                   "172.44.0.2"):
        peer.send(IP(src=source, dst=peer.ip().dst) / TCP(sport=5, dport=ECHO, flags="S"))
        peer.send(IP(src=source, dst=peer.ip().dst) / ICMP(type=8))
    assert peer.tell("count") is not None
    assert udp_echo(peer)
