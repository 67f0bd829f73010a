"""The wall clock after the monitor has stopped the machine and let it go on."""

import re
import time

import pytest

from tests.system.test_link import Monitor

STOPPED = 6  # seconds; longer than the guest's waits of 5 s


def told(guest, who):
    """(monotonic seconds since main began, the wall clock)"""
    found = guest.wait_console(rf"clock: {who} monotonic ([\d.]+) wall ([\d.]+)\s")
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("machine, options", [
    ("microvm", ""), ("q35", "clock=none"),
    ("microvm", "clock=1000000000"),  # not the machine's time: then it goes on from there
])
def test_the_wall_clock_goes_on_while_the_machine_is_stopped(boot, tmp_path, machine, options):
    monitor = Monitor(tmp_path / "monitor")
    guest = boot("system-wall_clock", machine=machine, options=options, extra=monitor.arguments)
    ready = told(guest, "ready")
    seen = time.time()
    assert re.search(r"clock: before Resource temporarily unavailable", guest.text)
    with monitor:
        monitor("stop")
        time.sleep(STOPPED)
        monitor("cont")
    for who in ("sleeper", "timerfd", "timer"):
        monotonic, wall = told(guest, who)
        assert monotonic < 4.5, f"{who} slept through"
        assert wall - ready[1] > 4.5
    guest.wait_console(r"clock: cancel Operation canceled\s")
    guest.wait_console(r"clock: again Resource temporarily unavailable\s")
    assert told(guest, "relative")[0] >= 5, "a span of time takes its time"
    monotonic, wall = told(guest, "end")
    passed = time.time() - seen
    assert abs(wall - ready[1] - passed) < 1.3, "as the host's clock"
    assert monotonic - ready[0] < passed - STOPPED + 0.5, "monotonic time stood still"
    assert guest.wait_end(10) == 0
