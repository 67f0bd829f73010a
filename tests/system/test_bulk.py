"""Bulk TCP both ways, every octet compared: with the device's offloads and without each of them,
over IPv4 and IPv6, in pieces of all sizes, with little memory and slow readers."""

import os
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from tests.system import bulk
from vmkit import netns

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
        guest = boot("system-bulk", how.pop("network", "tap"), **how)
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


@pytest.fixture
def narrow(start, namespace_with_tap):
    """A guest behind a router whose way out is slower than what comes in and whose queue is short:
    it cuts large segments and drops some of the packets. narrow() -> the guest, as seen from the
    far side."""
    near, far = namespace_with_tap, netns.Namespace()
    with near.entered():
        near.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "far")
        near.run("ip", "link", "set", "far", "netns", f"/proc/{os.getpid()}/fd/{far.fileno()}")
        near.run("ip", "address", "add", "10.9.0.1/24", "dev", "out")
        near.run("ip", "link", "set", "out", "up")
        near.sysctl("net/ipv4/ip_forward", "1")
        for device in ("out", "tap0"):
            near.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", "100mbit",
                     "burst", "20kb", "limit", "80kb")
    with far.entered():
        far.run("ip", "address", "add", "10.9.0.2/24", "dev", "far")
        far.run("ip", "link", "set", "far", "up")
        far.run("ip", "route", "add", "default", "via", "10.9.0.1")

    def boot(**how):
        guest = start(network=near, **how)
        guest.inside = far.entered
        return guest

    yield boot
    far.close()


def dropped(namespace, device):
    with namespace.entered():
        out = subprocess.run(["tc", "-s", "qdisc", "show", "dev", device], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    return int(re.search(r"dropped (\d+)", out)[1])


def test_packets_of_large_segments_are_lost(narrow):
    guest = narrow()
    near = guest.namespace
    size = 6 * MB
    assert bulk.take(guest, "pattern", size) == size
    assert dropped(near, "out") > 0
    assert bulk.give(guest, "check", size) == f"ok {size}"


def peer_window(sock):
    """What the guest lets us send beyond what it has acknowledged: Linux's tcpi_snd_wnd."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    if len(info) < 232:
        pytest.skip("this Linux does not tell the peer's window")
    return struct.unpack_from("I", info, 228)[0]


def test_the_window_grows_with_a_reader_that_keeps_up(narrow):
    guest = narrow(memory=256)
    block = bulk.pattern()
    windows = []
    with bulk.request(guest, "check", 24 * len(block), 128 << 10) as s:
        for _ in range(24):
            s.sendall(block)
            windows.append(peer_window(s))
        assert s.makefile().readline() == f"ok {24 * len(block)}\n"
        windows.append(peer_window(s))
    assert windows[0] <= 256 << 10  # a 256th of memory
    assert windows[-1] > 512 << 10
    assert max(windows) <= 4 * MB  # a 64th
