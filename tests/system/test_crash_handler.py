"""A program that handles its own crash: it has ten seconds for its report, then the machine ends."""

import re
import signal

import pytest

CRASHED = (128 + signal.SIGSEGV) & 127  # isa-debug-exit has seven bits

# The machine's clock counts instructions, and goes on at once where the machine would sleep: the
# seconds are the guest's, and pass quickly.
VIRTUAL_TIME = {"accel": "tcg", "extra": ["-icount", "shift=8,sleep=off"]}


@pytest.mark.parametrize("mode", ["wait", "spin", "once"])
def test_a_report_that_never_ends_ends_the_machine(boot, mode):
    guest = boot("system-crash_handler", args=mode, limit=60, **VIRTUAL_TIME)
    assert guest.wait_end() == CRASHED
    assert "did not end within 10 s" in guest.text and "ended by SIGSEGV" in guest.text
    seconds = [int(s) for s in re.findall(r"(\d+) s in the handler", guest.text)]
    assert seconds[-1] in (9, 10)


@pytest.mark.parametrize("mode", ["leave", "again"])
def test_a_handler_that_was_left_is_no_crash(boot, mode):
    guest = boot("system-crash_handler", args=mode, limit=60, **VIRTUAL_TIME)
    assert guest.wait_end() == 0
    assert "behind the crash" in guest.text


def test_redis_with_threads_ends_after_its_report(boot):
    guest = boot("redis", "tap", args="--enable-debug-command yes --io-threads 4")
    guest.wait_redis()
    with guest.redis() as redis:
        redis.send("DEBUG", "SEGFAULT")
        assert guest.wait_end(30) == CRASHED
    assert "REDIS BUG REPORT END" in guest.text
    assert "did not end within" not in guest.text
