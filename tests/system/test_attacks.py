"""Packets of an enemy: floods and forgeries (attack_frames.py) at 3,000 a second against a machine that
serves a good client meanwhile. The client's connections live and nobody waits longer than 900 ms, and
memory returns. `-s` prints the table that docs/security.md holds."""

import time

import pytest

from tests.system import attack, attack_frames
from tests.system.conftest import skip_without_tap

SHORT, LONG = 0.5, 8  # seconds of each attack
# One or more of each kind; the full run has the whole table.
EVERY_DAY = """
    syn_far syn_near syn6_near forged_rst forged_syn forged_sack fragments_incomplete
    fragments_overlapping fragments6_overlapping extension_headers martians land too_big unreachable
    redirects arp_replies neighbour_advertisements router_advertisements dhcp_forgeries dns_forgeries
""".split()


@pytest.fixture(scope="module")
def machine_of(boot_once, app):
    """machine_of(application, MB); the machine of the last call lives on for the next same call."""
    skip_without_tap()
    live = []

    def get(name, memory):
        if live and live[-1][0] == (name, memory):
            return live[-1][1]
        close()
        namespace = attack.network()
        machine = attack.Machine(boot_once, namespace, name, memory)
        live.append(((name, memory), machine, namespace))
        attack.warm_up(machine)
        return machine

    def close():
        while live:
            _, machine, namespace = live.pop()
            machine.close()
            machine.guest.kill()
            namespace.close()

    yield get
    close()


def withstands(machine, name, seconds):
    client = attack.GoodClient(machine)
    before = machine.free_memory()
    sent = attack.flood(machine, attack_frames.build(name, client.target()), seconds)
    during = machine.free_memory()
    client.stop()
    lost = machine.memory_returns(before)
    worst = ", ".join(f"{k} {1000 * v:.0f} ms" for k, v in client.worst.items())
    print(f"{machine.app} {machine.bytes >> 20} MB | {name} | {sent} frames | {worst} | free "
          f"{before >> 10} kB, during {during >> 10}, then {(before - lost) >> 10}")
    client.check(name)
    assert lost <= attack.MOST_LOST * machine.bytes, f"{name}: {lost} bytes did not come back"


def test_a_wait_is_seen(machine_of):
    """What the other tests go by: a machine that stands still for a second is noticed."""
    machine = machine_of("redis", 64)
    client = attack.GoodClient(machine)
    machine.monitor("stop")
    time.sleep(1.3)
    machine.monitor("cont")
    client.stop()
    with pytest.raises(AssertionError, match="a good client waited"):
        client.check("standing still")


@pytest.mark.parametrize("name", EVERY_DAY)
def test_short(machine_of, name):
    withstands(machine_of("redis", 64), name, SHORT)


@pytest.mark.full
@pytest.mark.parametrize("name", attack_frames.TABLE)
@pytest.mark.parametrize("server,memory", [("redis", 32), ("redis", 512), ("httpd", 32), ("httpd", 64),
                                        ("httpd", 512)])
def test_long(machine_of, server, memory, name):
    withstands(machine_of(server, memory), name, LONG)
