"""A bad network between client and guest: whatever it loses, mixes up, doubles, damages or holds
up, bulk data arrives as it was sent, both ways, and redis answers. The relay shows that the faults
did happen."""

import time

import pytest

from tests.system.relay import NETWORKS, transfer


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
