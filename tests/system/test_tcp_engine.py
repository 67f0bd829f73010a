"""The TCP engine from outside, by raw packets: floods, guesses from elsewhere (RFC 5961),
retransmission, TIME_WAIT; and many connections."""

import contextlib
import random
import struct
import time

import pytest

from tests.system.raw_tcp import ACK, FIN, PSH, RST, SYN, Peer, Wire


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("redis", "tap", memory=128, limit=900,
                      args="--enable-debug-command yes --maxclients 1000")
    guest.wait_redis()
    return guest


@pytest.fixture
def wire(guest):
    with contextlib.closing(Wire(guest)) as wire:
        yield wire


_ports = iter(range(20_000, 60_000))


@pytest.fixture
def peer(guest, wire):
    peer = Peer(wire, guest.address[1], next(_ports), isn=random.randrange(1 << 32))
    yield peer
    peer.reset()


MSS = b"\x02\x04\x05\xb4"
PING = b"*1\r\n$4\r\nPING\r\n"


def pinged(peer):
    peer.say(PING)
    answer = peer.receive(wanted=lambda s: s.data)
    assert answer and answer.data == b"+PONG\r\n", answer
    peer.ack = answer.seq + len(answer.data) & 0xFFFFFFFF
    peer.send(ACK)


# --- opening


def test_a_connection_by_hand(peer):
    answer = peer.open(MSS)
    assert answer.options == MSS
    pinged(peer)


def test_who_finds_the_backlog_full_waits_in_line(guest, wire):
    """More connections than redis's backlog (511) are confirmed while it sleeps. It gets all of
    them when it wakes, though nobody sends another segment."""
    peers = [Peer(wire, guest.address[1], next(_ports), isn=random.randrange(1 << 32))
             for _ in range(560)]
    with guest.redis(60) as sleeper, guest.redis(60) as client:
        before = int(client.info()["connected_clients"])
        sleeper.send("DEBUG", "SLEEP", "6")
        start = time.monotonic()
        for peer in peers:
            peer.open(MSS)
        assert time.monotonic() - start < 5.5, "the machine is too slow for this test"
        deadline = time.monotonic() + 10
        while (now := int(client.info()["connected_clients"])) < before + len(peers):
            assert time.monotonic() < deadline, f"{now - before} of {len(peers)} are accepted"
            time.sleep(0.1)
        assert sleeper.read() == "OK"
    for peer in peers:
        peer.reset()


def test_options_are_offered_to_who_offers_them(peer):
    answer = peer.open(MSS + b"\x01\x03\x03\x08" + b"\x01\x01\x04\x02")
    assert answer.options == MSS + b"\x01\x03\x03\x07" + b"\x01\x01\x04\x02"
    pinged(peer)


def test_the_answer_to_a_syn_is_sent_again(peer):
    peer.open(MSS)
    other = Peer(peer.wire, peer.port, next(_ports))
    other.send(SYN, options=MSS)
    first, second = other.receive(), other.receive(20)
    assert first and second and first.seq == second.seq and second.flags == SYN | ACK
    other.send(SYN, options=MSS)  # and to another copy
    third = other.receive()
    assert third and third.seq == first.seq
    other.isn, other.seq, other.ack = 1000, 1001, first.seq + 1
    pinged(other)
    other.reset()


def test_a_wrong_acknowledgement_is_refused(peer):
    peer.send(SYN)
    answer = peer.receive()
    assert answer
    peer.send(ACK, seq=peer.isn + 1, ack=answer.seq + 2)
    reset = peer.receive(wanted=lambda s: s.flags & RST)
    assert reset and reset.seq == answer.seq + 2 & 0xFFFFFFFF
    peer.send(RST, seq=peer.isn + 1)  # and one of ours in order takes the record away
    peer.send(ACK, seq=peer.isn + 1, ack=answer.seq + 1)
    assert peer.receive(wanted=lambda s: s.flags & RST)


def test_a_flood_of_syns_does_not_lock_others_out(boot):
    """Far more half-open connections than there is room for: a real client is served meanwhile, and
    so are those whose handshake needs a cookie. A machine of its own: the queue stays full."""
    guest = boot("redis", "tap", memory=64, limit=300)
    guest.wait_redis()
    with contextlib.closing(Wire(guest)) as wire:
        flood(guest, wire)


def flood(guest, wire):
    late = [Peer(wire, guest.address[1], next(_ports), isn=77 * n) for n in range(3)]
    late[0].open()  # so that our hardware address is known
    for n in range(6000):
        wire.send(f"172.44.0.{201 + n % 40}", 1024 + n, guest.address[1], n, 0, SYN, options=MSS)
        if n % 500 == 499:
            with guest.redis() as redis:
                assert redis.call("SET", f"flood:{n}", "x" * 10_000) == "OK"
                assert redis.call("GET", f"flood:{n}") == "x" * 10_000
    for peer in late[1:]:
        peer.open(MSS + b"\x01\x03\x03\x08")
        pinged(peer)
    with guest.redis() as redis:
        assert int(redis.info()["connected_clients"]) < 20
    for peer in late:
        peer.reset()


def test_sequence_numbers_follow_no_pattern(guest, wire):
    """RFC 6528: neighbours in port number start far apart."""
    numbers = []
    for _ in range(8):
        peer = Peer(wire, guest.address[1], next(_ports))
        peer.open()
        numbers.append(peer.guest_isn)
        peer.reset()
    distances = [(b - a) % (1 << 32) for a, b in zip(numbers, numbers[1:])]
    assert sum(1 << 20 < d < (1 << 32) - (1 << 20) for d in distances) >= 5, distances


# --- guesses from elsewhere (RFC 5961)


def test_a_reset_in_the_window_is_asked_about(peer):
    peer.open()
    pinged(peer)
    peer.send(RST, seq=peer.seq + 100)
    challenge = peer.receive()
    assert challenge and challenge.flags == ACK and challenge.ack == peer.seq & 0xFFFFFFFF
    pinged(peer)
    peer.send(RST, seq=peer.seq - 10)  # outside of the window: nothing
    assert peer.silent(0.5)
    pinged(peer)
    peer.send(RST)
    peer.send(ACK | PSH, PING)
    assert peer.receive(wanted=lambda s: s.flags & RST), "still there after an exact reset"


def test_a_syn_on_an_open_connection_is_asked_about_but_not_without_end(peer):
    peer.open()
    pinged(peer)
    for _ in range(50):
        peer.send(SYN, seq=peer.seq + 5)
    challenges = 0
    while (challenge := peer.receive(0.4)) is not None:
        assert challenge.flags == ACK and challenge.ack == peer.seq & 0xFFFFFFFF
        challenges += 1
    assert 1 <= challenges < 20
    pinged(peer)


@pytest.mark.parametrize("wrong", [1000, -(1 << 20), 1 << 31])
def test_data_with_an_impossible_acknowledgement_is_dropped(peer, wrong):
    peer.open()
    pinged(peer)
    peer.send(ACK | PSH, b"*1\r\n$8\r\nFLUSHALL\r\n", ack=peer.ack + wrong)
    challenge = peer.receive()
    assert challenge and not challenge.data and challenge.ack == peer.seq & 0xFFFFFFFF
    pinged(peer)


def test_data_without_an_acknowledgement_is_dropped(peer):
    peer.open()
    peer.send(PSH, PING)
    assert peer.silent(0.5)
    pinged(peer)


# --- retransmission


def test_what_is_not_acknowledged_comes_again_ever_later(peer):
    peer.open()
    pinged(peer)
    peer.say(PING)
    times = []
    for _ in range(5):
        answer = peer.receive(20, lambda s: s.data)
        assert answer and answer.data == b"+PONG\r\n"
        times.append(time.monotonic())
    gaps = [b - a for a, b in zip(times, times[1:])]
    # 200 ms beyond the round trip, and doubling; a busy machine makes it later, not earlier.
    assert gaps[0] > 0.1 and gaps[1] > 0.3 and gaps[2] > 0.7 and gaps[3] > 1.5, gaps
    peer.ack = answer.seq + len(answer.data) & 0xFFFFFFFF
    peer.send(ACK)
    pinged(peer)


SIZE = 40_000
GET_BIG = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n"


@pytest.fixture
def receiver(guest, peer):
    """A peer to which a large value has been sent once without loss, so that the window is open."""
    with guest.redis() as redis:
        assert redis.call("SET", "big", "v" * SIZE) == "OK"
    return peer


def packets(peer):
    """(sequence number, length) of what a card would have made of the next segment: the tap device
    hands over large ones whole."""
    s = peer.receive(30, lambda s: s.data)
    assert s, "nothing more came"
    for at in range(0, len(s.data), 1460):
        yield s.seq + at, min(1460, len(s.data) - at)


def fetch(peer, lost=(), sack=False):
    """GETs the value while the packets with these numbers get lost the first time. Returns how
    often the octets at each packet's start came. Every packet is acknowledged at once."""
    start, have, came = peer.ack, {}, {}
    total = SIZE + len(f"${SIZE}\r\n\r\n")
    peer.say(GET_BIG)
    while (peer.ack - start) % (1 << 32) < total:
        for sequence, length in packets(peer):
            at = (sequence - start) % (1 << 32)
            came[at] = came.get(at, 0) + 1
            if came[at] == 1 and len(came) - 1 in lost:
                continue
            have[at] = max(length, have.get(at, 0))
            acknowledge(peer, start, have, sack)
    return came


def acknowledge(peer, start, have, sack):
    next_octet = (peer.ack - start) % (1 << 32)
    while any(a <= next_octet < a + n for a, n in have.items()):
        next_octet = max(a + n for a, n in have.items() if a <= next_octet)
    peer.ack = start + next_octet & 0xFFFFFFFF
    options = b""
    if sack and (beyond := sorted((a, a + n) for a, n in have.items() if a > next_octet)):
        blocks = [list(beyond[0])]
        for left, right in beyond[1:]:
            if left <= blocks[-1][1]:
                blocks[-1][1] = max(right, blocks[-1][1])
            else:
                blocks.append([left, right])
        words = [start + edge & 0xFFFFFFFF for block in blocks[-3:] for edge in block]
        options = bytes([1, 1, 5, 2 + 4 * len(words)]) + struct.pack(f"!{len(words)}I", *words)
    peer.send(ACK, options=options)


def test_the_first_large_answer_leaves_in_large_segments(receiver):
    """The device cuts them, on a connection's first write as on later ones: the initial window of
    ten MSS is a segment or two, not ten. A device that hands over what it cut makes this fail."""
    receiver.open(MSS)
    receiver.say(GET_BIG)
    lengths = []
    while sum(lengths) < 10 * 1460:
        segment = receiver.receive(10, lambda s: s.data)
        assert segment, lengths
        lengths.append(len(segment.data))
    assert max(lengths) > 4 * 1460 and len(lengths) <= 3, lengths


@pytest.mark.parametrize("sack", [True, False])
def test_what_got_lost_is_sent_again_and_nothing_else(receiver, sack):
    """Three losses in one window. With a busy machine in between, the guest's time-out may come
    first and send more: then once more."""
    lost = (4, 6, 9)
    receiver.open(MSS + (b"\x01\x01\x04\x02" if sack else b""))
    fetch(receiver)
    for _ in range(10):
        came = fetch(receiver, lost, sack)
        again = [n for n, at in enumerate(came) if came[at] > 1]
        if again == list(lost) and max(came.values()) == 2:
            return
    raise AssertionError(f"lost {lost}, sent again {again}")


def timed_out(peer):
    """Takes the value without a word until its beginning comes again; where it begins, and how much
    of it came."""
    peer.say(GET_BIG)
    start, end = peer.ack, 0
    while True:
        segment = peer.receive(30, lambda s: s.data)
        assert segment, "nothing comes again"
        if end and segment.seq == start:
            return start, end
        end = max(end, (segment.seq + len(segment.data) - start) % (1 << 32))


def timed_out_with_all(peer):
    fetch(peer)
    fetch(peer)  # then the window holds all of it
    start, end = timed_out(peer)
    assert end > SIZE
    return start, end


def test_a_time_out_that_came_too_early_is_undone(receiver):
    """RFC 5682: what had been sent before arrives after all, so nothing else is sent again."""
    receiver.open(MSS + b"\x01\x01\x04\x02")
    start, end = timed_out_with_all(receiver)
    for octets in range(2 * 1460, end, 4 * 1460):  # the acknowledgements were late, not the data
        receiver.ack = start + octets & 0xFFFFFFFF
        receiver.send(ACK)
        # The end may come again, as a probe (RFC 8985, 7).
        again = receiver.receive(0.03, lambda s: s.data and
                                 (s.seq + len(s.data) - start) % (1 << 32) < end)
        assert not again
    receiver.ack = start + end & 0xFFFFFFFF
    receiver.send(ACK)
    pinged(receiver)


def test_a_time_out_after_a_loss_is_not_undone(receiver):
    """Only what was sent again arrives; the rest must come again."""
    receiver.open(MSS + b"\x01\x01\x04\x02")
    start, end = timed_out_with_all(receiver)
    while (receiver.ack - start) % (1 << 32) < end:
        receiver.ack = receiver.ack + 1460 & 0xFFFFFFFF
        receiver.send(ACK)
        if (receiver.ack - start) % (1 << 32) < end:
            again = receiver.receive(1, lambda s: s.data and s.seq == receiver.ack)
            assert again, "not sent again before the next time-out"
    receiver.ack = start + end & 0xFFFFFFFF
    pinged(receiver)


def test_after_a_time_out_new_segments_are_tried_first(receiver):
    """RFC 5682: if then nothing tells of what was sent before, that is sent again."""
    receiver.open(MSS + b"\x01\x01\x04\x02")
    start, end = timed_out(receiver)
    assert end < SIZE  # there is more than the window holds
    receiver.ack = start + 1460 & 0xFFFFFFFF
    receiver.send(ACK)
    new = receiver.receive(0.15, lambda s: s.data)
    assert new and (new.seq - start) % (1 << 32) == end
    block = struct.pack("!II", new.seq, new.seq + 1460 & 0xFFFFFFFF)
    receiver.send(ACK, options=b"\x01\x01\x05\x0a" + block)
    old = receiver.receive(0.15, lambda s: s.data and (s.seq - start) % (1 << 32) < end)
    assert old and old.seq == receiver.ack


def test_what_comes_out_of_order_is_named(peer):
    """SACK the other way: the guest says what it has."""
    peer.open(MSS + b"\x01\x01\x04\x02")
    parts = [PING[n:n + 2] for n in range(0, len(PING), 2)]
    begin = peer.seq
    peer.send(ACK | PSH, parts[2], seq=begin + 4)
    first = peer.receive()
    assert first.ack == begin & 0xFFFFFFFF
    assert first.sack_blocks() == [(begin + 4 & 0xFFFFFFFF, begin + 6 & 0xFFFFFFFF)]
    peer.send(ACK | PSH, parts[5], seq=begin + 10)
    second = peer.receive()
    assert second.sack_blocks()[0] == (begin + 10 & 0xFFFFFFFF, begin + 12 & 0xFFFFFFFF)
    assert len(second.sack_blocks()) == 2
    for n, part in enumerate(parts):
        if n not in (2, 5):
            peer.send(ACK | PSH, part, seq=begin + 2 * n)
    peer.seq += len(PING)
    answer = peer.receive(wanted=lambda s: s.data)
    assert answer and answer.data == b"+PONG\r\n" and not answer.sack_blocks()


def blocks(segment, begin):
    return [(a - begin & 0xFFFFFFFF, b - begin & 0xFFFFFFFF) for a, b in segment.sack_blocks()]


def test_what_comes_twice_is_named_first(peer):
    """RFC 2883: what is there already is reported by the first block, once."""
    peer.open(MSS + b"\x01\x01\x04\x02")
    begin = peer.seq
    pinged(peer)
    peer.send(ACK | PSH, PING, seq=begin)  # delivered: the block lies before the acknowledgement
    first = peer.receive()
    assert first.ack == peer.seq & 0xFFFFFFFF and blocks(first, begin) == [(0, len(PING))]
    begin = peer.seq
    for left, right, expected in (
            (2, 6, [(2, 6)]),
            (8, 10, [(8, 10), (2, 6)]),
            (2, 4, [(2, 4), (2, 6), (8, 10)]),  # held: the block that it lies in comes second
            (4, 8, [(4, 6), (2, 10)]),  # in part
            (4, 8, [(4, 8), (2, 10)])):
        peer.send(ACK | PSH, PING[left:right], seq=begin + left)
        answer = peer.receive()
        assert answer.ack == begin & 0xFFFFFFFF and blocks(answer, begin) == expected
    peer.send(ACK | PSH, PING[:3], seq=begin)  # fills the gap, and a part was held
    answer = peer.receive()
    assert answer.ack == begin + 10 & 0xFFFFFFFF and blocks(answer, begin) == [(2, 3)]
    peer.send(ACK | PSH, PING[8:], seq=begin + 8)  # delivered in part
    peer.seq += len(PING)
    answer = peer.receive(wanted=lambda s: not s.data)
    assert answer.ack == peer.seq & 0xFFFFFFFF and blocks(answer, begin) == [(8, 10)]


@pytest.mark.parametrize("sack", [True, False])
def test_what_comes_twice_does_not_replace_what_is_held(peer, sack):
    peer.open(MSS + (b"\x01\x01\x04\x02" if sack else b""))
    begin = peer.seq
    for left, right in ((2, len(PING)), (4, 6)):
        peer.send(ACK | PSH, PING[left:right], seq=begin + left)
        answer = peer.receive()
        assert answer.ack == begin & 0xFFFFFFFF and bool(answer.options) == sack
    peer.send(ACK | PSH, PING[:2], seq=begin)
    peer.seq += len(PING)
    answer = peer.receive(wanted=lambda s: s.data)
    assert answer and answer.data == b"+PONG\r\n"


def acknowledgements(peer, value, sizes):
    """SETs a value whose second octet gets lost, as fast as a card could; what answers the rest."""
    header = b"*3\r\n$3\r\nSET\r\n$5\r\nburst\r\n$%d\r\n" % len(value)
    peer.say(header + value[:1])
    begin, at = peer.seq, 2
    assert peer.receive()
    for size in sizes:
        peer.send(ACK, value[at:at + size], seq=begin - 1 + at)
        at += size
    answers = []
    end = begin - 1 + at & 0xFFFFFFFF
    while not answers or answers[-1].sack_blocks()[0][1] != end:
        answers.append(peer.receive())
        assert answers[-1], "what came last is not named"
        assert answers[-1].sack_blocks()[0][0] == begin + 1 & 0xFFFFFFFF
    peer.send(ACK | PSH, value[1:2], seq=begin)
    peer.seq = begin - 1 + len(value)
    peer.say(b"\r\n")
    done = peer.receive(wanted=lambda s: s.data)
    assert done and done.data == b"+OK\r\n"
    peer.ack = done.seq + 5 & 0xFFFFFFFF
    peer.send(ACK)
    return len(answers)


def test_what_arrives_together_is_acknowledged_together(peer):
    """Out of sequence, too: the machine takes some at a time, and answers once."""
    peer.open(MSS + b"\x01\x01\x04\x02")
    sizes = [100] * 300
    value = random.randbytes(2 + sum(sizes))
    counts = [acknowledgements(peer, value, sizes) for _ in range(5)]
    assert min(counts) < len(sizes) * 2 / 3, counts


def test_the_first_whole_segments_are_acknowledged_at_once(peer):
    """Each by itself, for a sender that begins with one; later ones wait for a second, or 40 ms. A
    busy machine makes some of them late."""
    peer.open(MSS)
    peer.say(b"*3\r\n$3\r\nSET\r\n$5\r\nquick\r\n$100000\r\n")
    assert peer.receive()

    def whole_segment():
        start = time.monotonic()
        peer.say(b"q" * 1460)
        answer = peer.receive(1)
        assert answer and answer.ack == peer.seq & 0xFFFFFFFF
        return time.monotonic() - start

    first = sorted(whole_segment() for _ in range(15))
    later = sorted(whole_segment() for _ in range(5))
    assert first[10] < 0.02 and later[2] > 0.025, (first, later)


# --- the end


def closed_by_the_guest(peer):
    """QUIT: the guest closes first and ends in TIME_WAIT."""
    peer.say(b"*1\r\n$4\r\nQUIT\r\n")
    fin = peer.receive(wanted=lambda s: s.flags & FIN)
    assert fin
    peer.ack = fin.seq + len(fin.data) + 1 & 0xFFFFFFFF
    peer.send(ACK)
    peer.send(FIN | ACK)
    last = peer.receive(wanted=lambda s: s.ack == peer.seq + 1 & 0xFFFFFFFF)
    assert last and last.flags == ACK
    return last


def test_time_wait_answers_for_the_connection(peer):
    peer.open()
    last = closed_by_the_guest(peer)
    peer.send(FIN | ACK)  # our copy of the acknowledgement was lost
    again = peer.receive()
    assert again and (again.flags, again.seq, again.ack) == (ACK, last.seq, last.ack)
    peer.send(RST, seq=peer.seq + 2)  # not the exact number (RFC 5961)
    peer.send(ACK, seq=peer.seq + 1)  # in order: nothing to say
    assert peer.silent(0.5)
    peer.send(SYN, seq=peer.seq - 1000)  # an old one
    again = peer.receive()
    assert again and (again.flags, again.ack) == (ACK, last.ack)


def test_time_wait_gives_way_to_a_syn_that_is_not_beyond_it(peer):
    """Whoever has begun gets an acknowledgement, resets the old connection with it and asks again:
    the new one must not wait for a minute."""
    peer.open()
    last = closed_by_the_guest(peer)
    peer.send(SYN, seq=peer.seq - 1000)
    again = peer.receive()
    assert again and (again.flags, again.ack) == (ACK, last.ack)
    peer.send(RST, seq=again.ack)
    peer.isn = peer.seq - 1000 & 0xFFFFFFFF
    peer.open()
    pinged(peer)


def test_time_wait_gives_way_to_a_new_connection(peer):
    peer.open()
    last = closed_by_the_guest(peer)
    peer.isn = peer.seq + 1000 & 0xFFFFFFFF
    peer.open()
    assert 0 < (peer.guest_isn - last.seq) % (1 << 32) < 1 << 31
    pinged(peer)


def one_after_the_other(guest, count):
    """The guest closes first, so each connection ends in TIME_WAIT there."""
    time.sleep(1)  # what other tests have reset is gone
    with guest.redis() as redis:
        before = redis.info()
    for _ in range(count):
        with guest.connect() as s:
            s.sendall(b"*1\r\n$4\r\nQUIT\r\n")
            assert s.recv(100) == b"+OK\r\n"
            assert s.recv(100) == b""
    with guest.redis() as redis:
        assert redis.call("PING") == "PONG"
        after = redis.info()
    assert after["connected_clients"] == before["connected_clients"]


def test_two_thousand_connections_one_after_the_other(guest):
    one_after_the_other(guest, 2_000)


@pytest.mark.full
def test_a_hundred_thousand_connections_one_after_the_other(boot):
    guest = boot("redis", "tap", memory=32, limit=3600)
    guest.wait_redis()
    one_after_the_other(guest, 100_000)
