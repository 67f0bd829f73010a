"""redis-benchmark on a tap device, with QEMU's default options (event index on): no error, no
stall, and quiet afterwards. The scaled runs are for every day, the `full` ones as promised."""

import contextlib
import re
import time

import pytest

# What redis-benchmark runs by itself, each with at least one line of result.
RESULT = re.compile(r"^([^:\n]+): ([\d.]+) requests per second", re.MULTILINE)


@pytest.fixture(scope="module")
def guest(boot_once):
    # 1,000 clients at 100 kB each way are 200 MB of buffers in redis alone.
    guest = boot_once("redis", "tap", memory=1024, limit=7200)
    guest.wait_redis()
    return guest


def benchmark(guest, *options, timeout):
    output = guest.run("redis-benchmark", "-h", guest.address[0], "-q", *options, timeout=timeout)
    results = [(name.strip(), rate) for name, rate in RESULT.findall(output.replace("\r", "\n"))]
    assert not re.search(r"error|refused|reset|timeout", output, re.IGNORECASE), output[-2000:]
    assert results, output
    assert all(float(rate) > 0 for _, rate in results)
    return results


# (options, requests in the scaled run, in the full run)
SHAPES = {
    "c50": (["-c", "50"], 5_000, 100_000),
    "c1000": (["-c", "1000"], 5_000, 100_000),
    "P16": (["-c", "50", "-P", "16"], 20_000, 400_000),
    "d100000": (["-c", "50", "-d", "100000"], 400, 4_000),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_set_and_get(guest, shape):
    options, requests, _ = SHAPES[shape]
    names = [name for name, _ in benchmark(guest, *options, "-n", str(requests), "-t", "set,get",
                                           timeout=90)]
    assert names == ["SET", "GET"]


def test_all_default_tests_once(guest):
    results = benchmark(guest, "-n", "2000", timeout=120)
    assert len(results) >= 19


@pytest.mark.parametrize("size", [10, 1300], ids=["waits", "too-much-to-wait"])
def test_a_burst_larger_than_the_ring(guest, size):
    """Answers to all at once, more than the device takes (256) and, the long ones, than may wait for
    it (1 MiB): each subscriber gets each message, whole and in order, and soon."""
    clients, messages = 900, [bytes([97 + n]) * size for n in range(3)]
    with contextlib.ExitStack() as stack:
        subscribers = [stack.enter_context(guest.connect(30)) for _ in range(clients)]
        for s in subscribers:
            s.sendall(b"SUBSCRIBE all\r\n")
            receive(s, len(b"*3\r\n$9\r\nsubscribe\r\n$3\r\nall\r\n:1\r\n"))
        begin = time.monotonic()
        with guest.redis() as publisher:
            for message in messages:
                assert publisher.call("PUBLISH", "all", message) == clients
        for s in subscribers:
            for message in messages:
                head = b"*3\r\n$7\r\nmessage\r\n$3\r\nall\r\n$%d\r\n" % size
                assert receive(s, len(head) + size + 2) == head + message + b"\r\n"
        assert time.monotonic() - begin < 20


def receive(s, size):
    text = b""
    while len(text) < size:
        piece = s.recv(size - len(text))
        assert piece, "the connection ended"
        text += piece
    return text


def test_idle_afterwards(guest):
    time.sleep(2)
    assert guest.cpu_share(4) < 0.05


@pytest.mark.full
@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_in_a_row(guest, shape):
    options, _, requests = SHAPES[shape]
    for _ in range(10):
        assert len(benchmark(guest, *options, "-n", str(requests), timeout=1200)) >= 19
    time.sleep(2)
    assert guest.cpu_share(5) < 0.05


@pytest.mark.full
def test_ten_thousand_connections(boot):
    guest = boot("redis", "tap", memory=1024, limit=900, args="--maxclients 10000")
    guest.wait_redis()
    clients = [guest.redis(60) for _ in range(9_900)]
    for client in clients:
        client.send("PING")
    assert all(client.read() == "PONG" for client in clients)
    for client in clients:
        client.close()
    time.sleep(2)
    with guest.redis() as client:
        assert int(client.info()["connected_clients"]) == 1
