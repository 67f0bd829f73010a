"""Clients that misbehave. Afterwards redis answers and memory is back where it was."""

import contextlib
import hashlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from tests.system.guest import MAC


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("redis", "tap", memory=256, limit=900)
    guest.wait_redis()
    return guest


@pytest.fixture
def as_before(guest):
    """After the test: answers at once, no client is left, and memory is back."""
    before = settle(guest)
    yield
    after = settle(guest)
    assert after["clients"] == 1
    grown = after["rss"] - before["rss"]
    assert grown < 4 << 20, f"resident memory grew by {grown >> 10} kB"
    assert after["used"] - before["used"] < 1 << 20


def settle(guest, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        time.sleep(0.3)  # redis looks at its resident size ten times a second
        with guest.redis(10) as redis:
            info = redis.info()
        now = {"clients": int(info["connected_clients"]), "rss": int(info["used_memory_rss"]),
               "used": int(info["used_memory"])}
        if now["clients"] == 1 or time.monotonic() > deadline:
            return now


def reset(sock):
    """Closes with RST instead of FIN, as a killed machine's successor would."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("round_", range(3))
def test_clients_killed_in_the_middle_of_requests(guest, as_before, round_):
    killed = []
    for n in range(100):
        with guest.inside():
            killed.append(subprocess.Popen(
                ["redis-benchmark", "-h", guest.address[0], "-c", "3", "-n", "1000000", "-d",
                 "1000", "-t", "set,lrange", "-q"], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL))
        if n % 10 == 9:
            time.sleep(0.2)
            for process in killed[-10:]:
                process.kill()
    for process in killed:
        process.kill()
        process.wait()


def test_connections_reset_in_the_middle_of_replies(guest, as_before):
    with guest.redis() as redis:
        redis.call("SET", "v", "x" * 1_000_000)
    for _ in range(200):
        s = guest.connect()
        s.sendall(b"GET v\r\n" * 3)
        s.recv(1000)
        reset(s)
    with guest.redis() as redis:
        redis.call("DEL", "v")


def test_half_requests_then_gone(guest, as_before):
    sockets = [guest.connect() for _ in range(500)]
    for s in sockets:
        s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nabc")
    for n, s in enumerate(sockets):
        reset(s) if n % 2 else s.close()


def test_half_open_connections(guest, as_before):
    """SYN and never again a word: the sender's address does not answer, nor refuse."""
    packet_socket = open_raw(guest)
    with contextlib.closing(packet_socket):
        for port in range(2000):
            packet_socket.sendto(syn("172.44.0.77", guest.address[0], 10_000 + port, 6379),
                                 (guest.address[0], 0))
    with guest.redis() as redis:
        assert redis.call("PING") == "PONG"


class Flood(threading.Thread):
    """SYNs without pause from addresses that will never answer, beyond the guest's gateway."""

    def __init__(self, guest):
        super().__init__(daemon=True)
        self.guest, self.enough, self.sent = guest, threading.Event(), 0
        self.start()

    def run(self):
        source = random.Random(9)
        with contextlib.closing(open_raw(self.guest)) as wire:
            while not self.enough.is_set():
                for _ in range(50):
                    sender = "10.%d.%d.%d" % tuple(source.randrange(1, 255) for _ in range(3))
                    wire.sendto(syn(sender, self.guest.address[0], source.randrange(1024, 65536),
                                    6379), (self.guest.address[0], 0))
                self.sent += 50
                time.sleep(0.002)


def test_a_flood_of_syns(guest, as_before):
    """Who is connected is served all along, and who comes gets in, if need be at the third or tenth
    try: his SYN competes with those of the flood for a place."""
    def come(n):
        deadline = time.monotonic() + 60
        while True:
            try:
                with guest.redis(10) as newcomer:
                    return newcomer.call("SET", "k", n)
            except OSError:
                if time.monotonic() > deadline:
                    raise

    with guest.redis(30) as redis:
        flood = Flood(guest)
        try:
            while flood.sent < 10_000:
                assert redis.call("PING") == "PONG"
            for n in range(3):
                assert come(n) == "OK"
                assert redis.call("GET", "k") == str(n)
        finally:
            flood.enough.set()
            flood.join()
        redis.call("DEL", "k")


STOPPED_CLIENT = """
import hashlib, socket, sys
s = socket.create_connection((sys.argv[1], 6379))
s.sendall(b"GET big\\r\\n" * 25)
print("asked", flush=True)
total, digest = 0, hashlib.sha256()
while total < 25 * (1_000_000 + 12):
    data = s.recv(65536)
    assert data
    total += len(data)
    digest.update(data)
print(digest.hexdigest())
"""


def test_a_stopped_client_holds_nobody_up(guest, as_before):
    """kill -STOP with 25 MB of replies outstanding (a sixth of memory would be too much). Others are
    served; and when it goes on, it gets every byte."""
    with guest.redis() as redis:
        redis.call("SET", "big", "x" * 1_000_000)
        with guest.inside():
            client = subprocess.Popen([sys.executable, "-c", STOPPED_CLIENT, guest.address[0]],
                                      stdout=subprocess.PIPE, text=True)
        try:
            assert client.stdout.readline() == "asked\n"
            client.send_signal(signal.SIGSTOP)
            for n in range(200):
                with guest.redis() as other:
                    assert other.call("SET", "k", n) == "OK"
            assert redis.pipeline([("GET", "k")] * 500) == ["199"] * 500
            client.send_signal(signal.SIGCONT)
            output, _ = client.communicate(timeout=120)
        finally:
            client.kill()
            client.wait()
        expected = hashlib.sha256((b"$1000000\r\n" + b"x" * 1_000_000 + b"\r\n") * 25)
        assert output.strip() == expected.hexdigest()
        redis.call("DEL", "big", "k")


def open_raw(guest):
    with guest.inside():
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    return s


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, target, source_port, target_port):
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack("!HHIIBBHHH", source_port, target_port, random.getrandbits(32), 0, 0x50, 2,
                      65535, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses + tcp


def test_garbage(guest, as_before):
    source = random.Random(7)
    for n in range(300):
        s = guest.connect()
        with contextlib.suppress(OSError):
            if n % 3 == 0:
                s.sendall(source.randbytes(source.randrange(1, 5000)))
            elif n % 3 == 1:
                s.sendall(b"*-99\r\n$9999999999999\r\n" * 10)
            else:
                s.sendall(b"*1000000000\r\n" + b"\0" * 100)
            s.settimeout(0.05)
            s.recv(100)
        s.close()


def test_garbage_packets(guest, as_before):
    """Broken IP and TCP headers, straight onto the wire."""
    source = random.Random(8)
    with guest.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("tap0", 0))
    with contextlib.closing(wire):
        ours, theirs = wire.getsockname()[4], bytes.fromhex(MAC.replace(":", ""))
        for n in range(3000):
            kind = source.choice([b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00"])
            body = source.randbytes(source.randrange(0, 1400))
            if n % 2 and kind == b"\x08\x00":
                good = syn("172.44.0.1", guest.address[0], source.randrange(65536), 6379)
                at = source.randrange(len(good))
                body = good[:at] + source.randbytes(1) + good[at + 1:] + body[:source.randrange(50)]
            wire.send(theirs + ours + kind + body)
            if n % 100 == 0:
                time.sleep(0.005)


def test_half_a_gigabyte_announced_and_not_sent(guest, as_before):
    """In all; one value may be a sixth of memory."""
    sockets = [guest.connect() for _ in range(20)]
    for s in sockets:
        s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$25000000\r\n" + b"x" * 50_000)
    time.sleep(1)
    with guest.redis() as redis:
        assert redis.call("SET", "other", "works") == "OK"
        redis.call("DEL", "other")
    for s in sockets:
        s.close()


def test_a_port_scan(guest, as_before):
    refused = 0
    with guest.inside():
        for port in range(1, 4000):
            with socket.socket() as s:
                s.settimeout(2)
                try:
                    s.connect((guest.address[0], port))
                except ConnectionRefusedError:
                    refused += 1
    assert refused == 3999


def test_thousands_of_short_connections(guest, as_before):
    for _ in range(5000):
        with guest.redis() as redis:
            redis.call("PING")


@pytest.mark.full
def test_a_hundred_thousand_short_connections(guest, as_before):
    for _ in range(100_000):
        with guest.redis() as redis:
            assert redis.call("PING") == "PONG"


@pytest.mark.full
def test_24_million_requests_without_a_stall(boot):
    """In one run, pipelined. Redis is asked every second: the count of commands must have grown, and
    memory must be where it was."""
    guest = boot("redis", "tap", memory=256, limit=7200)
    guest.wait_redis()

    def benchmark(requests):
        with guest.inside():
            return subprocess.Popen(
                ["redis-benchmark", "-h", guest.address[0], "-t", "set,get", "-c", "50", "-P", "16",
                 "-n", str(requests), "-q"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True)

    benchmark(200_000).communicate(timeout=600)
    before = settle(guest)
    process, started = benchmark(12_000_000), time.monotonic()
    try:
        done = 0
        while process.poll() is None:
            time.sleep(1)
            with guest.redis(30) as redis:
                now = int(redis.info()["total_commands_processed"])
            assert now > done + 1 or process.poll() is not None, f"a stall after {done} commands"
            done = now
        output = process.stdout.read()
    finally:
        process.kill()
        process.wait()
    assert len(re.findall("requests per second", output)) == 2, output
    assert done > 23_000_000
    after = settle(guest)
    print(f"{done:,} commands in {time.monotonic() - started:.0f} s; resident "
          f"{before['rss'] >> 10} kB before, {after['rss'] >> 10} kB after")
    assert after["rss"] - before["rss"] < 2 << 20
    assert after["used"] - before["used"] < 1 << 20
