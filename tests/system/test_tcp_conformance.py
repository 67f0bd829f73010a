"""TCP, IP, ICMP and UDP from outside, packet by packet: what the specifications ask for and what an
attacker or a broken stack would send. "Nothing comes" is waited for shortly, what must come long."""

import contextlib
import random
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from tests.system.raw_peer import ADDRESS, Connection, Peer, payload_of  # noqa: E402

ECHO, HOLD, KEPT, NARROW, SOURCE = 7, 9, 10, 11, 19
SOURCE_DATA = bytes(i % 251 for i in range(32768))
SHORT = 0.4
LONG_AGO = 1 << 30


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("system-net_peer", "tap", limit=900)
    guest.wait_console("ready")
    return guest


# The long way in, through all layers, and the one that predicts headers.
@pytest.fixture(params=[False, True], ids=["checked", "offloaded"])
def peer(guest, request):
    with contextlib.closing(Peer(guest, request.param)) as peer:
        yield peer
        assert peer.ping(), "the guest does not answer any more"


@pytest.fixture
def echo(peer):
    connection = Connection(peer, ECHO)
    connection.open()
    yield connection
    connection.send("R")


# --- the short ways (core/net/tcp_predict.cc) and the long one


def predicted(peer):
    return [peer.tell(f"predicted {field}") for field in range(3)]


def exchange(guest, offloads, options):
    """Requests and replies as a server sees them; what came back, without what differs from
    connection to connection, and how often the short ways were taken."""
    with contextlib.closing(Peer(guest, offloads)) as peer:
        c = Connection(peer, ECHO)
        c.open(options=[("MSS", 1460), ("WScale", 3)])
        assert c.echoes(b"the way is known now")
        first, seen, before = c.ack, [], predicted(peer)

        def note(t, about):
            assert t is not None, about
            seen.append((about, str(t.flags), (t.seq - first) & 0xFFFFFFFF,
                         (t.ack - c.seq) & 0xFFFFFFFF, t.window, t.dataofs, len(payload_of(t.underlayer)),
                         t.underlayer.ttl, t.underlayer.tos, int(t.underlayer.flags)))

        for size in (1, 100, 192, 193, 1000, 1400):
            # The reply acknowledges the request, and the next request the reply.
            c.send("PA", b"x" * size, options=options)
            answer = c.wait(lambda t: len(payload_of(t.underlayer)) == size)
            note(answer, f"reply to {size}")
            c.ack = (c.ack + size) & 0xFFFFFFFF
        c.send("A", options=options)
        # Two small segments without an answer in between: the second is acknowledged with data.
        c.send("A", b"a" * 10, options=options)
        c.send("PA", b"b" * 10, options=options)
        assert c.receive(20, acknowledge=False) == b"a" * 10 + b"b" * 10
        # A reply that is lost comes again: its timer runs.
        c.send("PA", b"lost", options=options)
        note(c.wait(lambda t: len(payload_of(t.underlayer)) == 4), "lost reply")
        note(c.wait(lambda t: len(payload_of(t.underlayer)) == 4), "the same again")
        c.ack = (c.ack + 4) & 0xFFFFFFFF
        c.send("A", options=options)
        after = predicted(peer)
        c.send("R")
        return seen, [b - a for a, b in zip(before, after)]


def test_short_and_long_way_agree(guest):
    # An option of no meaning makes a segment unpredictable, a checksum to verify as well.
    short, taken = exchange(guest, True, [])
    for offloads, options in ((True, [("NOP", None)] * 4), (False, [])):
        long, not_taken = exchange(guest, offloads, options)
        assert long == short
        assert not_taken[:2] == [0, 0]
    assert taken[0] == 9  # data
    assert taken[1] == 1  # acknowledgements; the last one ends a time-out and is looked at
    assert taken[2] >= 8  # replies


# --- RFC 9293: opening


def test_handshake_and_data(peer):
    c = Connection(peer, ECHO)
    answer = c.open(options=[("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)])
    options = dict(answer.options)
    assert options["MSS"] == 1460
    assert answer.window > 4000
    assert c.echoes(b"hello")
    assert c.echoes(b"x" * 1400)
    c.send("FA")
    assert c.wait(lambda t: t.ack == c.seq)
    assert c.wait(lambda t: t.flags.F)


def test_a_closed_port_refuses(peer):
    c = Connection(peer, 999)
    c.send("S")
    answer = c.wait()
    assert answer.flags.R and answer.flags.A and answer.ack == c.seq


def test_a_segment_for_no_connection_is_refused(peer):
    c = Connection(peer, ECHO)
    c.send("A", ack=12345)
    answer = c.wait()
    assert answer.flags.R and answer.seq == 12345
    c = Connection(peer, ECHO)
    c.send("R")
    assert c.wait(timeout=SHORT) is None, "an answer to a reset"


def test_syn_ack_is_repeated(peer):
    c = Connection(peer, ECHO)
    c.send("S")
    first, second = (c.wait(lambda t: t.flags.S and t.flags.A) for _ in range(2))
    assert first and second and first.seq == second.seq
    c.ack = (first.seq + 1) & 0xFFFFFFFF
    c.send("A")
    assert c.echoes(b"late")


def test_a_wrong_acknowledgement_of_syn_ack_is_refused(peer):
    c = Connection(peer, ECHO)
    c.send("S")
    first = c.wait(lambda t: t.flags.S and t.flags.A)
    c.send("A", ack=first.seq + 77)
    answer = c.wait(lambda t: t.flags.R)
    assert answer and answer.seq == (first.seq + 77) & 0xFFFFFFFF
    c.ack = (first.seq + 1) & 0xFFFFFFFF
    c.send("A")
    assert c.echoes(b"still"), "the half-open connection was given up"


def test_syn_again_is_answered_again(peer):
    c = Connection(peer, ECHO)
    c.send("S")
    first = c.wait(lambda t: t.flags.S and t.flags.A)
    c.send("S", seq=-1)
    again = c.wait(lambda t: t.flags.S and t.flags.A)
    assert first and again and first.seq == again.seq


def test_initial_sequence_numbers_differ(peer):
    numbers = set()
    for _ in range(8):
        c = Connection(peer, ECHO)
        numbers.add(c.open().seq)
        c.send("R")
    gaps = sorted(numbers)
    assert len(numbers) == 8
    assert max(b - a for a, b in zip(gaps, gaps[1:])) > 1 << 20, "they can be guessed"


# --- loss


def test_data_is_repeated_until_acknowledged(peer):
    c = Connection(peer, SOURCE)
    c.open()
    for _ in range(3):
        assert c.wait(lambda t: t.seq == c.ack and len(t.payload)), "not sent again"
    assert c.receive(32768) == SOURCE_DATA


def test_three_duplicate_acknowledgements(peer):
    c = Connection(peer, SOURCE)
    c.open(options=[("MSS", 1000)])
    first = c.wait(lambda t: t.seq == c.ack and len(t.payload))
    assert first
    for _ in range(4):
        c.send("A")
    assert c.wait(lambda t: t.seq == c.ack and len(t.payload))
    assert c.receive(32768) == SOURCE_DATA


def test_fin_is_repeated(peer, echo):
    assert echo.echoes(b"1")
    echo.send("FA")
    for _ in range(3):
        assert echo.wait(lambda t: t.flags.F and t.seq == echo.ack)
    echo.ack += 1
    echo.send("A")
    assert echo.wait(timeout=SHORT) is None


def test_data_lost_twice_and_out_of_order(peer, echo):
    data = random.Random(1).randbytes(6000)
    pieces = list(range(0, 6000, 500))
    random.Random(2).shuffle(pieces)
    for at in pieces:
        echo.send("A", data[at:at + 500], seq=at)
        echo.send("A", data[at:at + 500], seq=at)
    echo.seq = (echo.seq + 6000) & 0xFFFFFFFF
    assert echo.receive(6000) == data


def test_overlapping_segments(peer, echo):
    """The same bytes in pieces that overlap at either end, before and after a hole."""
    data = random.Random(3).randbytes(4000)
    for start, end in [(1000, 2000), (1500, 2600), (900, 1100), (3000, 3100), (2900, 3200),
                       (3050, 3060), (2500, 3000), (0, 500), (0, 700), (300, 950), (3100, 4000)]:
        echo.send("A", data[start:end], seq=start)
    got = echo.receive(4000, timeout=SHORT)
    deadline = time.monotonic() + 20
    while len(got) < 4000 and time.monotonic() < deadline:
        # It need not have kept what lay behind a hole.
        echo.send("A", data[len(got):][:1000], seq=len(got))
        got += echo.receive(4000 - len(got), timeout=SHORT)
    echo.seq = (echo.seq + 4000) & 0xFFFFFFFF
    assert got == data


# --- recovery from loss


def slow_with_sack(peer):
    """A connection with SACK over a path of 0.6 seconds, and where the first flight of data ends: a
    time-out comes no earlier than after three times as long."""
    c = Connection(peer, SOURCE)
    c.send("S", options=[("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)])
    answer = c.wait(lambda t: t.flags.S and t.flags.A)
    time.sleep(0.6)  # the SYN-ACK is repeated after a second, and then not timed
    c.ack = (answer.seq + 1) & 0xFFFFFFFF
    c.send("A")
    return c, furthest(c)


def furthest(c):
    """How far what arrives now goes beyond what we have acknowledged."""
    far = 0
    while t := c.wait(lambda t: len(t.payload), timeout=SHORT):
        far = max(far, ((t.seq - c.ack) & 0xFFFFFFFF) + len(t.payload))
    return far


def lacks_the_first(c, to):
    """Says that we have all up to there but the first segment."""
    c.send("A", options=[("NOP", None), ("NOP", None),
                         ("SAck", ((c.ack + 1460) & 0xFFFFFFFF, (c.ack + to) & 0xFFFFFFFF))])


def test_the_first_flight_is_ten_segments(peer):
    c, flight = slow_with_sack(peer)
    assert flight == 10 * 1460
    c.send("R")


def test_a_lost_tail_is_probed_for(peer):
    c, flight = slow_with_sack(peer)
    probe = c.wait(lambda t: len(t.payload))
    assert probe.seq == (c.ack + flight - 1460) & 0xFFFFFFFF, "no probe before the time-out"
    assert len(probe.payload) == 1460
    c.send("R")


def test_a_lost_retransmission_is_found_without_a_timeout(peer):
    c, flight = slow_with_sack(peer)
    lacks_the_first(c, 5 * 1460)
    assert c.wait(lambda t: t.seq == c.ack and len(t.payload) == 1460, 1), "not sent again"
    lacks_the_first(c, flight)
    beyond = furthest(c)
    assert beyond > flight, "nothing new is sent in a recovery"
    lacks_the_first(c, beyond)
    assert c.wait(lambda t: t.seq == c.ack and len(t.payload) == 1460, 1), "not sent once more"
    c.send("R")


def test_what_comes_a_little_late_is_not_sent_again(peer):
    c, flight = slow_with_sack(peer)
    lacks_the_first(c, 2 * 1460)
    c.ack = (c.ack + 2 * 1460) & 0xFFFFFFFF
    c.send("A")
    first = c.ack
    while t := c.wait(lambda t: len(t.payload), timeout=SHORT):
        assert (t.seq - first) & 0xFFFFFFFF >= flight - 2 * 1460, "sent again"
    c.send("R")


# --- windows


def test_a_closed_window_is_probed_and_opens(peer):
    c = Connection(peer, SOURCE)
    c.window = 0
    c.open()
    beyond = [t for t in (c.wait(lambda t: len(t.payload) > 1, SHORT),) if t]
    assert not beyond, "data into a closed window"
    for _ in range(2):
        probe = c.wait()
        assert probe and len(payload_of(probe.underlayer)) <= 1
        c.send("A")
    c.window = 65535
    c.send("A")
    assert c.receive(32768) == SOURCE_DATA


def test_a_window_of_one(peer):
    c = Connection(peer, SOURCE)
    c.window = 1
    c.open()
    assert c.receive(3) == SOURCE_DATA[:3]
    c.window = 65535
    c.send("A")
    assert c.receive(32768 - 3) == SOURCE_DATA[3:]


def test_our_window_closes_is_not_overrun_and_opens_again(peer):
    c = Connection(peer, HOLD)
    answer = c.open()  # without a scale, so no more than 64 kB
    window, total = answer.window, 0
    edge = c.seq + window
    while total < 1 << 20:
        piece = min(1400, edge - c.seq)
        if piece <= 0:
            break
        c.send("PA", b"x" * piece)
        total += piece
        if total % 14000 == 0 or piece < 1400:
            last = c.wait(lambda t: t.ack == c.seq & 0xFFFFFFFF)
            assert last
            edge = c.seq + last.window
    assert edge == c.seq, "the window never closed"
    c.send("PA", b"probe", move=False)
    answer = c.wait()
    assert answer.ack == c.seq and answer.window == 0, "a byte beyond the window was taken"
    assert peer.tell("read") == total
    updates = [p[TCP] for p in peer.skipped if TCP in p] or [c.wait()]
    assert updates[-1].window > 0 and updates[-1].ack == c.seq, "the open window is not told"
    c.send("PA", b"probe")
    assert c.wait(lambda t: t.ack == c.seq)
    assert peer.tell("read") == 5
    c.send("R")


def test_data_beyond_the_window_is_not_taken(peer, echo):
    echo.send("PA", b"far", seq=1 << 28)
    answer = echo.wait()
    assert answer.ack == echo.seq
    assert echo.echoes(b"near")


def test_a_fin_beyond_the_window(peer):
    """Out of sequence, where it does not count; then what comes before it fills the window."""
    c = Connection(peer, HOLD)
    window = c.open().window
    c.send("FA", b"z" * 100, seq=window - 100)
    for at in range(0, window, 1400):
        c.send("A", b"x" * min(1400, window - at), seq=at)
        if at % 14000 == 0:
            c.wait(lambda t: t.ack == (c.seq + at + 1400) & 0xFFFFFFFF, SHORT)
    assert peer.ping()
    c.send("R")


@pytest.mark.parametrize("fill", [150, 200, 250, 300])
def test_data_behind_a_fin(peer, fill):
    c = Connection(peer, HOLD)
    c.open()
    c.send("A", b"b" * 100, seq=200)
    c.send("FA", b"a" * 100, seq=100)
    c.send("A", b"c" * 50, seq=210)
    c.send("FA", b"d" * 50, seq=300)
    c.send("A", b"x" * fill, seq=0)
    assert peer.ping()
    c.send("A", b"x" * 400, seq=0)
    c.send("FA", b"x" * 400, seq=0)
    assert peer.ping()
    peer.tell("read")
    for offset in (150, 200, 201, 250, 300, 301, 350, 351, 400, 401):
        c.send("R", seq=offset)


# --- urgent data


def test_urgent_data_does_not_harm_the_stream(peer, echo):
    echo.send("PUA", b"abc", urgptr=3)
    got = echo.receive(2)
    assert got[:2] == b"ab"
    if len(got) == 2:
        echo.receive(1, timeout=SHORT)  # in the stream or out of it, both are in use
    for pointer in (0, 1, 65535):
        echo.send("UA", b"", urgptr=pointer)
    assert echo.echoes(b"defg")


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


# --- RFC 5961: blind attacks


def test_reset_must_be_exact(peer, echo):
    assert echo.echoes(b"1")
    echo.send("R", seq=100)  # in the window: to be challenged
    answer = echo.wait()
    assert answer.ack == echo.seq and not answer.flags.R
    echo.send("R", seq=-LONG_AGO)
    echo.send("R", seq=LONG_AGO)
    assert echo.echoes(b"2")
    before = peer.tell("count")
    echo.send("R")
    deadline = time.monotonic() + 10
    while peer.tell("count") != before - 1:
        assert time.monotonic() < deadline, "an exact reset was not obeyed"
    echo.send("A", b"3", move=False)
    assert echo.wait().flags.R


def test_syn_in_the_window_is_challenged(peer, echo):
    assert echo.echoes(b"1")
    for offset in (0, 100, -100):
        time.sleep(0.7)  # a connection answers two a second
        echo.send("S", seq=offset)
        answer = echo.wait()
        assert answer.ack == echo.seq and not answer.flags.R and not answer.flags.S
    assert echo.echoes(b"2")


def test_acknowledgement_of_what_was_never_sent(peer, echo):
    assert echo.echoes(b"1")
    echo.send("A", b"evil", ack=echo.ack + 5000, move=False)
    answer = echo.wait()
    assert answer.ack == echo.seq, "data with an impossible acknowledgement was taken"
    echo.send("A", b"evil", ack=echo.ack - LONG_AGO, move=False)
    with contextlib.suppress(AttributeError):
        assert echo.wait(timeout=SHORT).ack in (echo.seq, echo.seq + 4)


@pytest.mark.parametrize("flags", ["", "F", "SF", "FPU", "SRFPAU", "SA", "FSA"])
def test_strange_flags(peer, flags):
    """On a listener, a closed port and a connection that must go on."""
    for port in (ECHO, 999):
        Connection(peer, port).send(flags)
    c = Connection(peer, ECHO)
    c.open()
    if "R" not in flags and "F" not in flags:
        c.send(flags, move=False)
        assert c.echoes(b"still there")
    c.send("R")


# --- closing


def test_simultaneous_close(peer, echo):
    assert echo.echoes(b"1")
    peer.tell("close")
    theirs = echo.wait(lambda t: t.flags.F)
    assert theirs.seq == echo.ack
    echo.send("FA")  # does not acknowledge theirs: they crossed
    assert echo.wait(lambda t: t.ack == echo.seq), "our FIN is not acknowledged"
    echo.ack = (echo.ack + 1) & 0xFFFFFFFF
    echo.send("A")
    # TIME_WAIT: a FIN that is repeated is acknowledged again, and nothing is reset.
    echo.send("FA", seq=-1)
    answer = echo.wait(lambda t: not t.flags.F)
    assert answer.flags.A and not answer.flags.R and answer.ack == echo.seq


def test_half_closed_by_us_still_gets_data(peer):
    c = Connection(peer, ECHO)
    c.open()
    c.send("PA", b"last words")
    c.send("FA")
    assert c.receive(10) == b"last words"
    fin = c.wait(lambda t: t.flags.F)
    assert fin.ack == c.seq
    c.send("R")


def test_data_with_fin(peer, echo):
    echo.send("FPA", b"both")
    assert echo.receive(4) == b"both"
    assert echo.wait(lambda t: t.flags.F and t.ack == echo.seq)


def test_time_wait_gives_way_to_a_new_connection(peer):
    c = Connection(peer, ECHO)
    c.open()
    peer.tell("close")
    assert c.wait(lambda t: t.flags.F)
    c.ack = (c.ack + 1) & 0xFFFFFFFF
    c.send("FA")
    assert c.wait(lambda t: t.ack == c.seq)
    again = Connection(peer, ECHO, first=(c.seq + 100000) & 0xFFFFFFFF, our_port=c.our_port)
    again.open()
    assert again.echoes(b"again")
    again.send("R")


# --- opening from the guest


def open_from_guest(peer):
    c = Connection(peer, 2000)
    assert peer.tell(f"connect {c.our_port}") == 1
    syn = c.wait(lambda t: t.flags.S and not t.flags.A)
    assert syn, "no SYN"
    c.ack = (syn.seq + 1) & 0xFFFFFFFF
    return c, syn


def test_the_guest_connects(peer):
    c, syn = open_from_guest(peer)
    assert dict(syn.options)["MSS"] == 1460
    c.send("SA", options=[("MSS", 1460)])
    assert c.wait(lambda t: t.ack == c.seq and not t.flags.S)
    assert c.echoes(b"hello")
    c.send("R")


def test_the_guests_syn_is_repeated_and_refused(peer):
    c, first = open_from_guest(peer)
    again = c.wait(lambda t: t.flags.S)
    assert again.seq == first.seq
    c.send("RA")
    assert c.wait(lambda t: t.flags.S, 2.5) is None, "goes on after a refusal"


def test_a_wrong_acknowledgement_of_the_guests_syn(peer):
    c, syn = open_from_guest(peer)
    c.send("SA", ack=c.ack + 9, move=False)
    answer = c.wait(lambda t: t.flags.R)
    assert answer and answer.seq == (c.ack + 9) & 0xFFFFFFFF
    c.send("RA", ack=c.ack + 9, move=False)  # a reset that acknowledges nothing of this
    c.send("SA")
    assert c.wait(lambda t: t.ack == c.seq and not t.flags.S)
    assert c.echoes(b"hello")
    c.send("R")


def test_simultaneous_open(peer):
    """RFC 9293, 3.5, figure 7: both sides send a SYN before they see the other's."""
    c, syn = open_from_guest(peer)
    c.send("S", ack=0)
    answer = c.wait(lambda t: t.flags.S and t.flags.A)
    assert answer, "a SYN that crosses ours is not answered"
    assert answer.seq == syn.seq and answer.ack == c.seq
    c.send("SA", seq=-1)
    assert c.echoes(b"hello")
    c.send("R")


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


# --- keepalive


def test_keepalive(peer):
    c = Connection(peer, KEPT)
    c.open()
    assert c.echoes(b"1")
    for _ in range(2):
        probe = c.wait(lambda t: t.seq == (c.ack - 1) & 0xFFFFFFFF)
        assert probe, "no probe"
        c.send("A")
    before = peer.tell("count")
    deadline = time.monotonic() + 30
    while peer.tell("count") == before:
        assert time.monotonic() < deadline, "a dead peer is kept for ever"
        time.sleep(0.2)
