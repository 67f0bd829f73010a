"""net.capture=: what the guest's packets look like to tshark."""

import shutil
import subprocess

import pytest
from vmkit.capture import Capture

from tests.system.guest import GUEST, HOST

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark (scripts/setup.sh)")


def tshark(path, what, *fields):
    done = subprocess.run(["tshark", "-n", "-r", path, "-Y", what, "-T", "fields"]
                          + [word for f in fields for word in ("-e", f)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_tshark_reads_it(boot, namespace_with_tap, tmp_path):
    path = tmp_path / "packets.pcap"
    with namespace_with_tap.entered():
        capture = Capture(path.open("wb"), HOST).start()
    guest = boot("redis", namespace_with_tap, options=f"net.capture={capture.port}")
    guest.wait_redis()
    value = "x" * 5000
    with guest.redis() as redis:
        assert redis.call("SET", "captured", value) == "OK"
        assert redis.call("GET", "captured") == value
    guest.interrupt()
    assert guest.wait_end(20) == 0, guest.tail()
    capture.stop()

    streams = {s for s, in tshark(path, f"tcp.port == 6379 && ip.addr == {GUEST}", "tcp.stream")}
    assert streams
    # Each direction's bytes are all there, in whole segments.
    sent = sum(int(n) for n, in tshark(path, f"tcp.dstport == 6379 && tcp.len > 0", "tcp.len"))
    answered = sum(int(n) for n, in tshark(path, f"tcp.srcport == 6379 && tcp.len > 0", "tcp.len"))
    assert sent > 5000 and answered > 5000
    assert tshark(path, "tcp.flags.syn == 1 && tcp.flags.ack == 1 && tcp.srcport == 6379", "ip.src")
    assert tshark(path, "frame.cap_len == frame.len && tcp contains \"captured\"", "frame.number")
    # Not its own datagrams, and nothing broken.
    assert not tshark(path, f"udp.dstport == {capture.port}", "frame.number")
    assert not tshark(path, "_ws.malformed", "frame.number")


def test_a_wrong_target_is_named(boot):
    guest = boot("redis", "tap", options="net.capture=1.2.3:x")
    guest.wait_redis()
    assert "net.capture=1.2.3:x is not a port" in guest.text
