"""TCP from outside, packet by packet: what the specifications ask for and what an attacker or a
broken stack would send. "Nothing comes" is waited for shortly, what must come long."""

import contextlib
import random
import time

import pytest

scapy = pytest.importorskip("scapy")

from scapy.layers.inet import TCP  # noqa: E402

from tests.system.net_peer import (ECHO, HOLD, KEPT, SHORT, SOURCE, SOURCE_DATA, echo,  # noqa: E402, F401
                                   guest, peer)
from tests.system.raw_peer import Connection, Peer, payload_of  # noqa: E402

LONG_AGO = 1 << 30


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


def test_a_connection_that_is_dissolved_is_reset_and_its_socket_connects_again(peer, echo):
    """connect() with AF_UNSPEC."""
    assert echo.echoes(b"so far")
    port = peer.port()
    assert peer.tell(f"reuse {port}") == 1
    segments = [p[TCP] for p in peer.skipped if TCP in p]
    assert any(t.dport == echo.our_port and t.flags.R for t in segments)
    syn = next((t for t in segments if t.dport == port), None) or \
        peer.wait(lambda p: TCP in p and p[TCP].dport == port, 5)[TCP]
    assert syn.flags.S and not syn.flags.A
    c = Connection(peer, syn.sport, our_port=port)
    c.ack = (syn.seq + 1) & 0xFFFFFFFF
    c.send("SA")
    assert c.wait(lambda t: t.flags.A and t.ack == c.seq)
    assert c.echoes(b"and again")
    c.send("R")
