"""A path that really takes less than its ends: a Linux router between the guest and a client, which
reports what is too big, or a black hole, which says nothing."""

import contextlib
import os
import select
import socket
import struct
import threading

import pytest

scapy = pytest.importorskip("scapy")

from tests.system import bulk  # noqa: E402
from tests.system.guest import GUEST, MAC  # noqa: E402
from tests.system.path_peer import STREAM, Path, paths  # noqa: E402, F401
from tests.system.raw_peer import (GUEST6, PACKET_VNET_HDR, SOL_PACKET, VNET_HEADER,  # noqa: E402
                                   payload_of)
from vmkit import netns  # noqa: E402

MB = 1 << 20
NARROW = 1400


class Watch:
    """What the guest puts on the wire: the longest packet of TCP it is meant to be cut into, by
    order of appearance, and what must not be there."""

    def __init__(self, guest):
        with guest.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
            self.socket.bind(("tap0", 0))
        self.sizes, self.fragments, self.may_be_cut, self.reports = [], 0, 0, 0
        self.over = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.over or select.select([self.socket], [], [], 0)[0]:
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            data, about = self.socket.recvfrom(128)  # headers
            _, kind, headers, segment, _, _ = VNET_HEADER.unpack(data[:VNET_HEADER.size])
            self._see(data[VNET_HEADER.size:], kind and segment, headers,
                      about[2] == socket.PACKET_OUTGOING)

    def _see(self, frame, segment, headers, to_guest):
        if frame[12:14] == b"\x08\x00":
            length, _, cut = struct.unpack("!HHH", frame[16:22])
            protocol, is_fragment = frame[23], bool(cut & 0x3FFF)
            report = protocol == 1 and frame[34] == 3
            may_be_cut = not cut & 0x4000
        elif frame[12:14] == b"\x86\xdd":
            length = struct.unpack("!H", frame[18:20])[0] + 40
            protocol, is_fragment = frame[20], frame[20] == 44
            report = protocol == 58 and frame[54] == 2
            may_be_cut = False
        else:
            return
        if to_guest:
            self.reports += report
            return
        self.fragments += is_fragment
        if protocol == 6:
            self.may_be_cut += may_be_cut
            self.sizes.append(segment + headers - 14 if segment else length)

    def stop(self):
        self.over = True
        self.thread.join()
        self.socket.close()


class Client:
    """A host behind a router, which is where the guest's network ends."""

    def __init__(self, guest):
        self.namespace = netns.Namespace()
        self.address = (GUEST, bulk.PORT)
        router, here = guest.namespace, f"/proc/{os.getpid()}/fd/{self.namespace.fileno()}"
        with router.entered():
            router.run("ip", "link", "add", "far0", "type", "veth", "peer", "name", "far1")
            router.run("ip", "link", "set", "far1", "netns", here)
            router.with_ipv6("tap0")
            router.with_ipv6("far0")
            for words in ("addr add fd00:44::1/64 dev tap0 nodad",
                          "addr add 10.55.0.1/24 dev far0 noprefixroute",
                          "addr add fd00:55::1/64 dev far0 nodad noprefixroute",
                          f"route add 10.55.0.0/24 dev far0 mtu {NARROW}",
                          f"-6 route add fd00:55::/64 dev far0 mtu {NARROW}",
                          f"neighbour replace {GUEST} lladdr {MAC} nud permanent dev tap0"):
                router.run("ip", *words.split())
            router.sysctl("net/ipv4/ip_forward", "1")
            router.sysctl("net/ipv6/conf/all/forwarding", "1")
        with self.inside():
            self.namespace.with_ipv6("far1")
            for words in ("addr add 10.55.0.2/24 dev far1", "addr add fd00:55::2/64 dev far1 nodad",
                          "route add default via 10.55.0.1", "-6 route add default via fd00:55::1"):
                self.namespace.run("ip", *words.split())

    def inside(self):
        return self.namespace.entered()


@pytest.mark.parametrize("device", ["", "csum=off,guest_csum=off,gso=off,mrg_rxbuf=off"],
                         ids=["offloads", "no offloads"])
def test_through_a_router(boot, device):
    """Megabytes over both families: nothing is fragmented, and after the first reports nothing is
    too big."""
    guest = boot("system-bulk", "tap", options="ip6=fd00:44::2/64 gw6=fd00:44::1", nic=device)
    guest.wait_console("bulk: ready")
    client = Client(guest)
    with contextlib.closing(client.namespace):
        watch = Watch(guest)
        try:
            for address in (GUEST, GUEST6):
                for size in (4 * MB, MB):  # the second connection knows the path
                    assert bulk.take(client, "pattern", size, address=address) == size
                assert bulk.give(client, "check", MB, address=address) == f"ok {MB}"
        finally:
            watch.stop()
    assert watch.sizes, "nothing was seen"
    assert watch.fragments == 0 and watch.may_be_cut == 0
    assert watch.reports, "the router had nothing to report"
    too_big = [n for n, size in enumerate(watch.sizes) if size > NARROW]
    assert max(watch.sizes) > NARROW
    # The first flight of the first connection of each family.
    assert len(too_big) <= 40, f"{len(too_big)} of {len(watch.sizes)} were too big"


def test_a_black_hole(paths):
    """What is large is never answered, and nobody reports it."""
    with contextlib.closing(Path(paths, 4)) as four, contextlib.closing(Path(paths, 6)) as six:
        connections = [(path, path.in_flight(STREAM)) for path in (four, six)]
        for path, c in connections:
            most = path.mss(1064 if path.version == 4 else 1280)
            small = c.wait(lambda t: t.seq == c.ack and 0 < len(payload_of(t.underlayer)) <= most)
            assert small, "large ones only, for ever"
            c.ack = small.seq + len(payload_of(small.underlayer)) & 0xFFFFFFFF
            c.send("A")
            data, sizes = path.fetch(c, 20000)
            assert max(sizes) == most
            c.send("R")
