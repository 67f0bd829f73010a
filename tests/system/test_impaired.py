"""A bad network between client and guest: whatever it loses, mixes up, doubles, damages or holds
up, bulk data arrives as it was sent, both ways, and redis answers. The relay shows that the faults
did happen."""

import hashlib
import random
import time

import pytest

MB = 1 << 20
# name: (faults, what the relay counts, bytes of the bulk value: short, full)
NETWORKS = {
    "clean": ("", None, 4 * MB, 64 * MB),
    "1 % loss": ("drop=0.01", "dropped", 2 * MB, 32 * MB),
    "5 % loss": ("drop=0.05", "dropped", MB // 2, 8 * MB),
    "reordering": ("reorder=0.02", "reordered", 2 * MB, 32 * MB),
    "duplication": ("duplicate=0.02", "duplicated", 2 * MB, 32 * MB),
    "bit flips": ("flip=0.01", "flipped", 2 * MB, 32 * MB),
    "50 ms delay": ("delay=25", None, 2 * MB, 16 * MB),
    "200 kB/s": ("rate=200000", None, MB // 4, 4 * MB),
    "all": ("drop=0.005 reorder=0.01 duplicate=0.01 flip=0.005 delay=5", "dropped", MB, 16 * MB),
}


def transfer(redis, size, seed):
    """A value of that size there and back; (seconds to write, seconds to read)."""
    value = random.Random(seed).randbytes(size)
    start = time.monotonic()
    redis.socket.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nbulk\r\n$%d\r\n%s\r\n" % (size, value))
    assert redis.read() == "OK"
    written = time.monotonic()
    redis.send("GET", "bulk")
    back = redis.read().encode("utf-8", "surrogateescape")
    read = time.monotonic()
    assert hashlib.sha256(back).digest() == hashlib.sha256(value).digest(), "damaged on the way"
    return written - start, read - written


def work(guest, rounds):
    """Small requests, one at a time and pipelined, over several connections."""
    for n in range(rounds):
        with guest.redis(60) as redis:
            assert redis.call("SET", f"key:{n}", f"value {n}") == "OK"
            assert redis.call("GET", f"key:{n}") == f"value {n}"
            assert redis.pipeline([("INCR", "counter")] * 50) == \
                list(range(50 * n + 1, 50 * n + 51))


def use(boot, network, size, rounds, limit):
    faults, count, _, _ = NETWORKS[network]
    guest = boot("redis", "tap", faults=faults, memory=256, limit=limit)
    guest.wait_redis(60)
    with guest.redis(limit) as redis:
        there, back = transfer(redis, size, 5)
    work(guest, rounds)
    did = guest.relay.stop()
    print(f"{network}: {size / there / 1000:,.0f} kB/s to the guest, {size / back / 1000:,.0f} from"
          f" it; {did}")
    assert count is None or sum(direction[count] for direction in did.values()) > 0
    # A loss that nobody asked for would make the test another one.
    assert sum(direction["unwritable"] for direction in did.values()) == 0


@pytest.mark.parametrize("network", NETWORKS)
def test_bulk_and_redis(boot, network):
    use(boot, network, NETWORKS[network][2], 3, 180)


@pytest.mark.full
@pytest.mark.parametrize("network", NETWORKS)
def test_longer(boot, network):
    use(boot, network, NETWORKS[network][3], 50, 1800)


def test_the_same_seed_meets_the_same_faults(boot):
    """By packet number: the third packet to the guest is lost, and only that one."""
    guest = boot("redis", "tap", faults="to-guest:drop-packets=3")
    time.sleep(0.5)
    guest.wait_redis(60)
    did = guest.relay.stop()
    assert did["to_guest"]["dropped"] == 1
    assert did["to_client"]["dropped"] == 0
