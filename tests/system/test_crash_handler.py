"""A program that handles its own crash: it has ten seconds for its report, then the machine ends."""

import signal
import time

CRASHED = (128 + signal.SIGSEGV) & 127  # isa-debug-exit has seven bits


def run(boot, modes):
    """All at the same time, because each takes seconds of waiting."""
    started = time.monotonic()
    guests = [(mode, boot("system-crash_handler", args=mode, limit=60)) for mode in modes]
    return [(mode, guest.wait_end(), guest.text, time.monotonic() - started)
            for mode, guest in guests]


def test_a_report_that_never_ends_ends_the_machine(boot):
    for mode, status, console, seconds in run(boot, ["wait", "spin", "once"]):
        assert status == CRASHED, (mode, console)
        assert "did not end within 10 s" in console and "ended by SIGSEGV" in console, (mode, console)
        assert seconds > 9, mode


def test_a_handler_that_was_left_is_no_crash(boot):
    for mode, status, console, _ in run(boot, ["leave", "again"]):
        assert status == 0 and "behind the crash" in console, (mode, console)


def test_redis_with_threads_ends_after_its_report(boot):
    guest = boot("redis", "tap", args="--enable-debug-command yes --io-threads 4")
    guest.wait_redis()
    with guest.redis() as redis:
        redis.send("DEBUG", "SEGFAULT")
        assert guest.wait_end(30) == CRASHED
    assert "REDIS BUG REPORT END" in guest.text
    assert "did not end within" not in guest.text
