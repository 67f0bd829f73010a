"""Path MTUs and reports about them (RFC 1191, RFC 8201, RFC 5927): what is believed, and that TCP
follows at once and is never cut into fragments."""

import pytest

scapy = pytest.importorskip("scapy")

from tests.system.path_peer import (LEAST, SHORT, SOURCE_DATA, STREAM, path,  # noqa: E402, F401
                                    paths)
from tests.system.raw_peer import payload_of  # noqa: E402


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
    first = c.wait(lambda t: t.seq == c.ack and len(payload_of(t.underlayer)) <= path.mss(mtu), 10)
    assert first, "the segment did not come again"
    assert path.ask("mss") == path.mss(mtu)
    assert path.ask("mtu") == mtu
    data, sizes = path.fetch(c, len(SOURCE_DATA))
    assert data == SOURCE_DATA
    assert max(sizes) == path.mss(mtu)
    other = path.connection(STREAM)  # knows it from the beginning
    assert max(path.fetch(other, 10000)[1]) == path.mss(mtu)
    for connection in (c, other):
        connection.send("R")


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
    "not sent yet": lambda path, c: path.segment(c, offset=100000),
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
