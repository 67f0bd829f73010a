"""iperf 2 in the guest, server and client, against the one on the host: TCP and UDP, one way, the
other and both at once, and both sides' reports agree."""

import re
import shutil
import subprocess
import time

import pytest

from tests.system.guest import GUEST, HOST

pytestmark = pytest.mark.skipif(not shutil.which("iperf"), reason="needs iperf (scripts/setup.sh)")

# Connections, arguments; all in kB, which is what the reports are compared in.
TCP = {"to the server": (1, "-n 16M"), "from the server": (1, "-n 16M -R"),
       "both ways": (2, "-t 1 --full-duplex"), "four at once": (4, "-n 4M -P 4")}
UDP = {"to the server": (1, "-t 1 -b 20M"), "from the server": (1, "-t 1 -b 20M -R"),
       "both ways": (2, "-t 1 -b 20M --full-duplex")}
UDP_KB = 20e6 / 8 / 1024  # what each direction of these is


def totals(report):
    """kB of each connection and direction, in order of size."""
    return sorted(int(kb) for kb in re.findall(
        r"^\[ *\*?\d+\] +0\.0+-[\d.]+ sec +(\d+) KBytes", report, re.MULTILINE))


def lost(report):
    """(lost, all) of every UDP report."""
    return [(int(a), int(b)) for a, b in re.findall(r" ms +(\d+)/(\d+) \(", report)]


def check_tcp(client, server, connections, arguments):
    assert len(totals(client)) == connections
    assert totals(client) == totals(server)
    if "-n" in arguments:
        assert set(totals(client)) == {16384 // (4 if "-P" in arguments else 1)}
    else:
        assert totals(client)[0] > 1024


def check_udp(client, server, ways):
    for report in (client, server):
        sizes = totals(report)[:ways]  # the client repeats the server's report
        assert len(sizes) == ways and all(kb == pytest.approx(UDP_KB, rel=0.1) for kb in sizes)
    reports = lost(client + server)
    # A busy host may lose some in the socket of its own; the end is lost where nothing tells of it.
    assert reports and all(0 <= gone <= total / 20 and total > 1500 for gone, total in reports)


class Reports:
    """The console of the guest, a piece for each of its runs."""

    def __init__(self, guest):
        self.guest, self.seen = guest, len(guest.console)

    def next(self, lines):
        """What has come since the last call, when it has as many totals; or what there is."""
        deadline = time.monotonic() + 10
        while True:
            text = self.guest.console[self.seen:].decode(errors="replace").replace("\r", "")
            if len(totals(text)) >= lines or time.monotonic() > deadline:
                self.seen = len(self.guest.console)
                return text
            time.sleep(0.05)


def client_on_host(guest, *arguments):
    """iperf says that it listens just before it does."""
    deadline = time.monotonic() + 10
    while True:
        report = guest.run("iperf", "-c", GUEST, "-f", "k", *arguments, timeout=40)
        if "refused" not in report or time.monotonic() > deadline:
            return report
        time.sleep(0.1)


def test_tcp_server(boot):
    guest = boot("iperf", "tap", args="-s -f k", limit=150)
    guest.wait_console("Server listening on TCP port 5001")
    reports = Reports(guest)
    for name, (connections, arguments) in TCP.items():
        client = client_on_host(guest, *arguments.split())
        check_tcp(client, reports.next(connections), connections, arguments)
    guest.interrupt()
    assert guest.wait_end(20) == 0, guest.tail()


def test_one_after_another(boot):
    """The next client comes while the server is still ending the one before
    (patches/iperf/01-sum-report-of-the-last.patch)."""
    guest = boot("iperf", "tap", args="-s -f k", limit=120)
    guest.wait_console("Server listening on TCP port 5001")
    for i in range(24):
        client = client_on_host(guest, "-n", "2M", *(["-R"] if i % 3 else []))
        assert totals(client) == [2048]
    guest.interrupt()
    assert guest.wait_end(20) == 0, guest.tail()


def test_udp_server(boot):
    guest = boot("iperf", "tap", args="-s -u -f k", limit=150)
    guest.wait_console("Server listening on UDP port 5001")
    reports = Reports(guest)
    for ways, arguments in UDP.values():
        client = client_on_host(guest, "-u", *arguments.split())
        check_udp(client, reports.next(ways), ways)
    guest.interrupt()
    assert guest.wait_end(20) == 0, guest.tail()


def run_client(boot, namespace, arguments):
    """(the guest's report, that of the host's server)"""
    udp = ["-u"] if arguments.startswith("-u") else []
    with namespace.entered():
        server = subprocess.Popen(["iperf", "-s", "-f", "k", *udp], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
    try:
        with namespace.entered():
            wait_bound("udp" if udp else "tcp")
        guest = boot("iperf", namespace, args=f"-c {HOST} -f k {arguments}", limit=60)
        assert guest.wait_end(50) == 0, guest.tail()
        time.sleep(0.2)  # the server's report follows
    finally:
        server.terminate()
        report, _ = server.communicate(timeout=10)
    return guest.text.replace("\r", ""), report


def wait_bound(protocol):
    deadline = time.monotonic() + 10
    while ":1389 " not in open(f"/proc/thread-self/net/{protocol}").read():  # 5001
        assert time.monotonic() < deadline, "the host's iperf does not listen"
        time.sleep(0.05)


@pytest.mark.parametrize("name", TCP)
def test_tcp_client(boot, namespace_with_tap, name):
    connections, arguments = TCP[name]
    client, server = run_client(boot, namespace_with_tap, arguments)
    check_tcp(client, server, connections, arguments)


@pytest.mark.parametrize("name", UDP)
def test_udp_client(boot, namespace_with_tap, name):
    ways, arguments = UDP[name]
    client, server = run_client(boot, namespace_with_tap, f"-u {arguments}")
    check_udp(client, server, ways)
