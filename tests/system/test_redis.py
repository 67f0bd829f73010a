"""What redis does for its clients, on one machine on a tap device that these tests share."""

import socket
import threading
import time

import pytest
from vmkit.resp import Redis, RedisError


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("redis", "tap", limit=600)
    guest.wait_redis()
    return guest


@pytest.fixture
def redis(guest):
    with guest.redis() as client:
        client.call("FLUSHALL")
        yield client


def test_set_and_get(redis):
    assert redis.call("SET", "a", "1") == "OK"
    assert redis.call("GET", "a") == "1"
    assert redis.call("GET", "none") is None
    assert redis.call("INCR", "a") == 2


@pytest.mark.parametrize("size", [0, 1, 1447, 1448, 1449, 65535, 65536, 65537, 1_000_000, 8_000_000])
def test_values_of_every_size_come_back_whole(redis, size):
    value = (bytes(range(256)) * (size // 256 + 1))[:size]
    redis.call("SET", "v", value)
    assert redis.call("STRLEN", "v") == size
    redis.send("GET", "v")
    assert redis.read().encode("utf-8", "surrogateescape") == value


def test_a_thousand_in_one_go(redis):
    replies = redis.pipeline([("SET", f"k{i}", f"v{i}") for i in range(1000)] +
                             [("GET", f"k{i}") for i in range(1000)])
    assert replies == ["OK"] * 1000 + [f"v{i}" for i in range(1000)]


def test_eval(redis):
    script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 7}"
    assert redis.call("EVAL", script, 1, "k", "v") == ["v", 7]


def test_info(redis):
    info = redis.info()
    assert info["redis_version"] == "7.0.15"
    assert info["os"].startswith("Linux") or info["os"].startswith("Oblako")
    assert int(info["used_memory_rss"]) > 0


def test_limits_follow_memory(redis):
    """Of a machine with 64 MB, of which the image and the kernel's start take a few (redis.conf)."""
    def limit(name):
        return int(redis.call("CONFIG", "GET", name)[1])

    memory = limit("maxmemory") * 2
    assert 55 << 20 < memory < 64 << 20
    assert limit("maxclients") == memory >> 18
    assert limit("proto-max-bulk-len") == memory // 6
    normal = redis.call("CONFIG", "GET", "client-output-buffer-limit")[1]
    assert normal.startswith(f"normal {memory // 6} 0 0 ")


def test_arguments_override_limits(boot):
    guest = boot("redis", "tap", args="--maxclients 777 --maxmemory 8mb")
    guest.wait_redis()
    with guest.redis() as redis:
        assert redis.call("CONFIG", "GET", "maxclients")[1] == "777"
        assert redis.call("CONFIG", "GET", "maxmemory")[1] == str(8 << 20)


def test_the_build_is_what_it_says(redis):
    assert redis.info("server")["arch_bits"] == "64"
    assert redis.info("memory")["mem_allocator"] == "libc"


def test_maxmemory_evicts(redis):
    redis.call("CONFIG", "SET", "maxmemory", "8mb")
    redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        redis.pipeline([("SET", f"k{i}", "x" * 10000) for i in range(2000)])
        info = redis.info()
        assert int(info["evicted_keys"]) > 0
        assert int(info["used_memory"]) < 9 << 20
    finally:
        redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        redis.call("CONFIG", "SET", "maxmemory", "0")


def test_maxmemory_refuses(redis):
    redis.call("CONFIG", "SET", "maxmemory", "8mb")
    try:
        replies = redis.pipeline([("SET", f"k{i}", "x" * 100000) for i in range(200)])
        assert any(isinstance(r, RedisError) and str(r).startswith("OOM") for r in replies)
        assert redis.call("PING") == "PONG"
    finally:
        redis.call("CONFIG", "SET", "maxmemory", "0")


def test_the_wall_clock(redis):
    before = time.time()
    seconds, micros = redis.call("TIME")
    assert abs(int(seconds) + int(micros) / 1e6 - before) < 1


def test_expiry_after_a_while(redis):
    start = time.monotonic()
    redis.call("SET", "k", "v", "PX", "1500")
    while redis.call("GET", "k") is not None:
        time.sleep(0.01)
    assert 1.45 < time.monotonic() - start < 1.9


def test_expiry_at_a_time_of_the_wall_clock(redis):
    when = time.time() + 2
    redis.call("SET", "k", "v", "PXAT", str(int(when * 1000)))
    while redis.call("GET", "k") is not None:
        time.sleep(0.01)
    assert abs(time.time() - when) < 1


def test_keys_nobody_asks_for_expire_too(redis):
    redis.pipeline([("SET", f"k{i}", "v", "PX", "300") for i in range(500)])
    deadline = time.monotonic() + 10
    while redis.call("DBSIZE") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert redis.call("DBSIZE") == 0


def test_publish_and_subscribe(guest, redis):
    with guest.redis() as listener, guest.redis() as pattern:
        assert listener.call("SUBSCRIBE", "news") == ["subscribe", "news", 1]
        assert pattern.call("PSUBSCRIBE", "n*") == ["psubscribe", "n*", 1]
        for i in range(100):
            assert redis.call("PUBLISH", "news", f"m{i}") == 2
        for i in range(100):
            assert listener.read() == ["message", "news", f"m{i}"]
            assert pattern.read() == ["pmessage", "n*", "news", f"m{i}"]


def test_blocking_pop_wakes(guest, redis):
    with guest.redis() as waiter:
        waiter.send("BLPOP", "queue", "10")
        time.sleep(0.3)
        redis.call("RPUSH", "queue", "item")
        assert waiter.read() == ["queue", "item"]


def test_blocking_pop_gives_up_in_time(redis):
    start = time.monotonic()
    assert redis.call("BLPOP", "empty", "1") is None
    assert 0.95 < time.monotonic() - start < 1.5


def test_fifty_blocked_clients(guest, redis):
    clients = [guest.redis() for _ in range(50)]
    for client in clients:
        client.send("BRPOP", "q", "20")
    time.sleep(0.3)
    redis.pipeline([("LPUSH", "q", str(i)) for i in range(50)])
    got = sorted(int(client.read()[1]) for client in clients)
    assert got == list(range(50))
    for client in clients:
        client.close()


def test_transactions_and_watch(guest, redis):
    redis.call("SET", "n", "1")
    redis.call("WATCH", "n")
    with guest.redis() as other:
        other.call("SET", "n", "5")
    redis.call("MULTI")
    redis.call("INCR", "n")
    assert redis.call("EXEC") is None
    redis.call("MULTI")
    redis.call("INCR", "n")
    assert redis.call("EXEC") == [6]


def test_save_writes_to_the_file_system(redis):
    redis.pipeline([("SET", f"k{i}", "v" * 100) for i in range(1000)])
    before = redis.call("LASTSAVE")
    time.sleep(1.1)
    assert redis.call("SAVE") == "OK"
    assert redis.call("LASTSAVE") > before
    redis.call("SET", "after", "gone")
    assert redis.info("persistence")["rdb_last_bgsave_status"] == "ok"


def test_background_saving_says_that_it_cannot(redis):
    with pytest.raises(RedisError):
        redis.call("BGSAVE")
    assert redis.call("PING") == "PONG"
    assert redis.call("SET", "still", "writable") == "OK"


def test_lazy_freeing_in_a_thread(redis):
    redis.pipeline([("RPUSH", "big", *["x" * 50] * 1000) for _ in range(20)])
    before = int(redis.info()["lazyfreed_objects"])
    assert redis.call("UNLINK", "big") == 1
    deadline = time.monotonic() + 5
    while int(redis.info()["lazyfreed_objects"]) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert int(redis.info()["lazyfreed_objects"]) == before + 1


def test_slow_reader_gets_everything(guest, redis):
    """Our window closes; redis must wait for it and go on where it stopped. (A sixth of memory may
    wait for one client.)"""
    redis.call("SET", "v", "x" * 2_000_000)
    with guest.redis(30) as slow:
        for _ in range(4):
            slow.send("GET", "v")
        time.sleep(1)
        assert [len(slow.read()) for _ in range(4)] == [2_000_000] * 4


def test_a_client_that_writes_all_before_it_reads(guest, redis):
    """Its window stays closed all the while; ours must not seem closed to it because of that."""
    commands = b"".join(Redis.encode("SET", f"k{i}", f"v{i:06}") + Redis.encode("GET", f"k{i}")
                        for i in range(50_000))
    expected = b"".join(b"+OK\r\n$7\r\nv%06d\r\n" % i for i in range(50_000))
    s = guest.connect(timeout=20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
    s.sendall(commands)
    got = b""
    while len(got) < len(expected):
        piece = s.recv(65536)
        assert piece
        got += piece
    s.close()
    assert got == expected


def test_redis_cli(guest, redis):
    cli = ["redis-cli", "-h", guest.address[0]]
    assert guest.run(*cli, "set", "from", "cli").strip() == "OK"
    assert guest.run(*cli, "get", "from").strip() == "cli"


def test_many_clients_at_once(guest, redis):
    errors = []

    def client(n):
        try:
            with guest.redis(30) as r:
                for i in range(200):
                    r.call("SET", f"c{n}:{i}", f"{n}.{i}")
                    if r.call("GET", f"c{n}:{i}") != f"{n}.{i}":
                        errors.append((n, i))
        except (OSError, RedisError) as error:
            errors.append((n, error))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    assert redis.call("DBSIZE") == 20 * 200


def test_idle_afterwards(guest, redis):
    time.sleep(1)
    assert guest.cpu_share(4) < 0.05


def test_shutdown_command_ends_the_machine(boot):
    guest = boot("redis", "tap")
    guest.wait_redis()
    with guest.redis() as client:
        client.send("SHUTDOWN", "NOSAVE")
        assert guest.wait_end(10) == 0
