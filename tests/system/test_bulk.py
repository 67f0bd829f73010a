"""Bulk TCP both ways, every octet compared: with the device's offloads and without each of them,
over IPv4 and IPv6, in pieces of all sizes, with little memory and slow readers."""

import threading
import time

import pytest

from tests.system import bulk

MB = 1 << 20

# Each takes something else from the driver; with mrg_rxbuf=off the large frames go as well.
DEVICES = {
    "all": "",
    "no-tso-in": "guest_tso4=off,guest_tso6=off",
    "no-tso-out": "host_tso4=off,host_tso6=off",
    "no-merge": "mrg_rxbuf=off",
    "no-csum-out": "csum=off",
    "no-csum-in": "guest_csum=off",
    "no-event-index": "event_idx=off,indirect_desc=off",
    "nothing": "csum=off,guest_csum=off,gso=off,mrg_rxbuf=off,event_idx=off,indirect_desc=off",
}


@pytest.fixture
def start(boot):
    def start(**how):
        guest = boot("system-bulk", "tap", **how)
        guest.wait_console("bulk: ready")
        return guest

    return start


def both_ways(guest, megabytes, piece, **how):
    size = megabytes * MB + 12345
    assert bulk.give(guest, "check", size, piece, **how) == f"ok {size}"
    assert bulk.take(guest, "pattern", size, piece, **how) == size


@pytest.mark.parametrize("device", DEVICES)
def test_every_octet(start, device):
    guest = start(nic=DEVICES[device])
    both_ways(guest, 6, 128 << 10)
    both_ways(guest, 2, 0)  # pieces of all sizes
    address = bulk.enable_ipv6(guest)
    both_ways(guest, 3, 0, address=address)


@pytest.mark.parametrize("memory", [6, 16, 256])
def test_with_this_much_memory(start, memory):
    guest = start(memory=memory)
    both_ways(guest, 8, 64 << 10)
    both_ways(guest, 2, 0)


def test_many_at_once(start):
    guest = start(memory=64)
    failed = []

    def one(i):
        try:
            size = MB + 1000 * i
            if i % 2:
                assert bulk.give(guest, "check", size, 0) == f"ok {size}"
            else:
                assert bulk.take(guest, "pattern", size, 0) == size
        except (AssertionError, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_reader_that_stops_now_and_then(start):
    """Its window closes in the middle of large segments, which are split and probed."""
    guest = start()
    stops = iter(range(MB, 8 * MB, 2 * MB))
    at = [next(stops)]

    def slow(done):
        if at[0] is not None and done >= at[0]:
            at[0] = next(stops, None)
            time.sleep(0.7)

    assert bulk.take(guest, "pattern", 8 * MB, slow=slow) == 8 * MB


@pytest.mark.parametrize("machine", ["q35"])
def test_over_pci(start, machine):
    both_ways(start(machine=machine), 4, 128 << 10)
