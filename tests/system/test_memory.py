"""Little memory, too much data, and the ends that must be clear: never a hang."""

import socket
import threading
import time

import pytest
from vmkit.resp import RedisError


def test_sixteen_megabytes_serve(boot):
    guest = boot("redis", "tap", memory=16)
    guest.wait_redis()
    with guest.redis() as redis:
        redis.pipeline([("SET", f"k{i}", "xxx") for i in range(10_000)])
        assert redis.call("GET", "k9999") == "xxx"
        assert redis.call("DBSIZE") == 10_000
    output = guest.run("redis-benchmark", "-h", guest.address[0], "-n", "5000", "-t", "set,get",
                       "-q", timeout=60)
    assert output.count("requests per second") == 2


@pytest.mark.parametrize("machine", ["microvm", "pc"])
def test_an_image_that_does_not_fit_says_so(boot, app, machine):
    least = app("redis").least_memory
    guest = boot("redis", memory=least - 1, machine=machine)
    assert guest.wait_end(20) != 0
    assert guest.text.count("\n") == 1
    assert f"does not fit into the machine's memory: give it {least} MB or more" in guest.text


def test_memory_that_holds_the_image_and_little_more(boot, app):
    """It serves or says that it cannot: never silence, and never a success that was none."""
    guest = boot("redis", memory=app("redis").least_memory)
    said = guest.wait_console("Ready to accept connections|ut of memory|no memory")
    if said[0] != "Ready to accept connections":
        assert guest.wait_end(20) != 0


def fill(redis, megabytes):
    """Stores until redis refuses; how many MB it took."""
    for n in range(megabytes):
        replies = redis.pipeline([("SET", f"m{n}:{i}", "x" * 10_000) for i in range(100)])
        if any(isinstance(r, RedisError) and str(r).startswith("OOM") for r in replies):
            return n
    return megabytes


def test_more_data_than_maxmemory_is_refused(boot):
    guest = boot("redis", "tap", memory=32, args="--maxmemory 16mb")
    guest.wait_redis()
    with guest.redis() as redis:
        assert 8 <= fill(redis, 64) <= 17
        assert redis.call("PING") == "PONG"
        assert redis.call("GET", "m1:1") == "x" * 10_000


def test_more_data_than_memory_is_refused(boot):
    """Without any argument: the recipe's limit is half of memory."""
    guest = boot("redis", "tap", memory=32)
    guest.wait_redis()
    with guest.redis() as redis:
        assert 8 <= fill(redis, 64) <= 17
        assert redis.call("PING") == "PONG"
        assert redis.call("FLUSHALL") == "OK"
        assert redis.call("SET", "other", "works") == "OK"


def test_more_data_than_memory_ends_in_a_report(boot):
    """Without maxmemory redis believes in endless memory and ends itself when malloc fails; either
    that or the kernel's report, and a failure status soon after."""
    guest = boot("redis", "tap", memory=32, args="--maxmemory 0")
    guest.wait_redis()
    with pytest.raises((OSError, AssertionError)), guest.redis(20) as redis:
        # Nobody resets the connection of a machine that is gone.
        threading.Thread(target=lambda: (guest.qemu.wait(), redis.socket.shutdown(socket.SHUT_RDWR)),
                         daemon=True).start()
        assert fill(redis, 256) < 256
    assert guest.wait_end(20) != 0
    assert "ut of memory" in guest.text or "Out Of Memory" in guest.text


@pytest.mark.parametrize("args", ["", "--maxmemory 0 --proto-max-bulk-len 512mb",
                                  "--maxmemory 16mb --proto-max-bulk-len 512mb"],
                         ids=["recipe", "no-limits", "maxmemory"])
def test_a_value_bigger_than_the_machine(boot, args):
    guest = boot("redis", "tap", memory=48, args=args)
    guest.wait_redis()
    size = 200 << 20
    try:
        with guest.redis(4) as redis:
            redis.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % size)
            for _ in range(size >> 20):
                redis.socket.sendall(b"x" * (1 << 20))
            redis.socket.sendall(b"\r\n")
            redis.read()
    except (OSError, RedisError):
        pass
    deadline = time.monotonic() + 20
    while guest.qemu.poll() is None and time.monotonic() < deadline:
        try:
            with guest.redis(5) as redis:
                assert redis.call("PING") == "PONG"
                return  # refused, and serves on
        except (OSError, RedisError):
            time.sleep(0.2)
    assert guest.wait_end(5) != 0
    assert "ut of memory" in guest.text or "Out Of Memory" in guest.text


def resident(redis):
    time.sleep(0.3)  # redis looks at its resident size ten times a second
    return int(redis.info("memory")["used_memory_rss"])


def test_a_small_value_costs_what_it_costs_elsewhere(boot):
    """100,000 keys with 3-byte values: 56 bytes of dictionary entry and key and a shared or
    embedded value, plus the table: below 110 bytes each natively with malloc of glibc."""
    guest = boot("redis", "tap", memory=128)
    guest.wait_redis()
    with guest.redis() as redis:
        before = resident(redis)
        for n in range(100):
            redis.pipeline([("SET", f"key:{n * 1000 + i:012d}", "xxx") for i in range(1000)])
        assert redis.call("DBSIZE") == 100_000
        each = (resident(redis) - before) / 100_000
    assert 50 < each < 120


def test_memory_is_used_again(boot):
    guest = boot("redis", "tap", memory=256)
    guest.wait_redis()
    with guest.redis() as redis:
        sizes = []
        for _ in range(4):
            assert fill(redis, 100) == 100
            sizes.append(resident(redis))
            redis.call("FLUSHALL")
    assert sizes[0] > 90 << 20
    assert max(sizes) - sizes[0] < 8 << 20


# --- crashes of redis itself ---


def test_debug_segfault(boot):
    guest = boot("redis", "tap", args="--enable-debug-command yes")
    guest.wait_redis()
    with guest.redis() as redis:
        start = time.monotonic()
        redis.send("DEBUG", "SEGFAULT")
        status = guest.wait_end(10)
        assert time.monotonic() - start < 1
    assert status != 0
    assert "REDIS BUG REPORT START" in guest.text
    assert "crashed by signal: 11" in guest.text
    assert "REDIS BUG REPORT END" in guest.text


def test_debug_panic(boot):
    guest = boot("redis", "tap", args="--enable-debug-command yes")
    guest.wait_redis()
    with guest.redis() as redis:
        redis.send("DEBUG", "PANIC")
        assert guest.wait_end(10) != 0
    assert "REDIS BUG REPORT START" in guest.text
