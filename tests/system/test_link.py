"""What a host does to a network device while it works: its link down and up, its MTU set, and the
request to announce the guest after it has moved."""

import json
import select
import socket
import threading
import time

import pytest

from tests.system import bulk
from tests.system.guest import GUEST, MAC

MB = 1 << 20


class Monitor:
    """QEMU's machine protocol on a socket of its own."""

    def __init__(self, path):
        self.path = str(path)
        self.arguments = ("-qmp", f"unix:{self.path},server=on,wait=off")

    def __enter__(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(self.path)
                break
            except OSError:
                assert time.monotonic() < deadline, "QEMU offers no monitor"
                time.sleep(0.05)
        self.lines = self.socket.makefile()
        self.lines.readline()  # greeting
        self("qmp_capabilities")
        return self

    def __exit__(self, *_):
        self.socket.close()

    def __call__(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]


@pytest.fixture
def start(boot, tmp_path):
    def start(**how):
        monitor = Monitor(tmp_path / "monitor")
        guest = boot("system-bulk", "tap", extra=monitor.arguments, **how)
        guest.wait_console("bulk: ready")
        return guest, monitor

    return start


def arp_announcement(packet):
    """RFC 5227, 3: sender and target are the guest's address."""
    address = socket.inet_aton(GUEST)
    return (packet[12:14] == b"\x08\x06" and packet[6:12] == bytes.fromhex(MAC.replace(":", ""))
            and packet[28:32] == address and packet[38:42] == address)


def wait_for(sock, wanted, seconds=30):
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sock], [], [], left)[0] and wanted(sock.recv(65536)):
            return True
    return False


@pytest.mark.parametrize("machine", ["microvm", "q35"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_transfer_survives_link_down_and_up(start, machine, way):
    guest, monitor = start(machine=machine)
    size = 48 * MB
    outcome = []

    def transfer():
        if way == "in":
            outcome.append(bulk.give(guest, "check", size) == f"ok {size}")
        else:
            outcome.append(bulk.take(guest, "pattern", size, slow=lambda _: time.sleep(0.002)) ==
                           size)

    thread = threading.Thread(target=transfer)
    with monitor:
        thread.start()
        time.sleep(0.3)
        for _ in range(2):
            monitor("set_link", name="net0", up=False)
            time.sleep(1.5)
            monitor("set_link", name="net0", up=True)
            time.sleep(0.2)
    thread.join()
    assert outcome == [True]


def test_announces_itself_when_the_host_asks(start):
    guest, monitor = start()
    with guest.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        wire.bind(("tap0", 0))
    with wire, monitor:
        # QEMU sends an RARP for guests that do not do it themselves: not what is looked for.
        monitor("announce-self", initial=50, max=100, rounds=1, step=50)
        assert wait_for(wire, arp_announcement)
        # The guest has told the device so, or it would not be asked a second time.
        monitor("announce-self", initial=50, max=100, rounds=1, step=50)
        assert wait_for(wire, arp_announcement)


def test_mtu_from_the_device(start):
    """Segments are cut to what the device says passes, by the device and by us."""
    guest, _ = start(nic="host_mtu=1000")
    with guest.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        wire.bind(("tap0", 0))
    with wire:
        with bulk.request(guest, "source", 0, 0):
            assert wait_for(wire, lambda p: p[23] == 6 and p[47] & 0x12 == 0x12 and
                            bytes([2, 4, 960 >> 8, 960 & 255]) in p[54:])  # MSS 960
    size = 2 * MB
    assert bulk.give(guest, "check", size) == f"ok {size}"
    assert bulk.take(guest, "pattern", size) == size
