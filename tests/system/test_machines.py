"""The same redis image on every kind of machine and network."""

import pytest
from vmkit import vm

from tests.system.dhcp_server import DISCOVER, REQUEST

MACHINES = list(vm.MACHINES)


def works(guest):
    guest.wait_redis()
    with guest.redis() as redis:
        value = "x" * 300_000
        assert redis.call("SET", "k", value) == "OK"
        assert redis.call("GET", "k") == value
        replies = redis.pipeline([("INCR", "n")] * 1000)
        assert replies == list(range(1, 1001))
    guest.interrupt()
    assert guest.wait_end(20) == 0, guest.tail()


@pytest.mark.parametrize("machine", MACHINES)
def test_user_network(boot, machine):
    works(boot("redis", "user", machine=machine))


@pytest.mark.parametrize("machine", MACHINES)
def test_tap_with_a_static_address(boot, machine):
    works(boot("redis", "tap", machine=machine))


@pytest.mark.parametrize("machine", MACHINES)
def test_tap_with_dhcp(boot, namespace_with_tap, dhcp, machine):
    server = dhcp(namespace_with_tap)
    works(boot("redis", namespace_with_tap, machine=machine, static=False))
    assert server.log[:2] == [DISCOVER, REQUEST]


def test_neighbours_are_found_by_arp(boot):
    works(boot("redis", "tap", neighbour=False))


def test_dhcp_does_not_hold_up_main(boot, namespace_with_tap):
    """Nobody answers, and redis is ready all the same."""
    guest = boot("redis", namespace_with_tap, static=False)
    guest.wait_console("Ready to accept connections", 10)


def test_dhcp_asks_again(boot, namespace_with_tap, dhcp):
    server = dhcp(namespace_with_tap, silent=1)
    guest = boot("redis", namespace_with_tap, static=False)
    guest.wait_redis(30)
    assert server.log[:3] == [DISCOVER, DISCOVER, REQUEST]


def test_a_rng_device_is_enough(boot):
    guest = boot("redis", "tap", cpu="qemu64", rng=True)
    guest.wait_redis()
    assert "entropy" not in guest.text.lower() or "virtio-rng" in guest.text


def test_without_entropy_it_says_so(boot):
    guest = boot("redis", "tap", cpu="qemu64")
    guest.wait_redis()
    assert "entropy" in guest.text.lower() or "random" in guest.text.lower()


def test_a_legacy_device_is_refused_clearly(boot):
    """virtio-mmio in its legacy form is not spoken; the console must say what to do."""
    guest = boot("redis", None, extra=["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n",
                                       "-global", "virtio-mmio.force-legacy=true"])
    guest.wait_console("force-legacy=false", 20)
