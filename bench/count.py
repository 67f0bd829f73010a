#!/usr/bin/env python3
"""Counts guest instructions: bench/count.py APP [--until-pong | --per-request SET|GET [-P N] [-c N]]

Without a choice: everything there is to count for the application. An application without a port
is counted from the machine's start to power-off; redis to its first +PONG and for each request, on
a tap device in a network namespace (needs root). "insns" leaves out the repeats of `rep` string
instructions and what runs in the idle function; both are shown beside. Firmware is included.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from tests.system.guest import Guest  # noqa: E402
from vmkit import netns, vm  # noqa: E402

PLUGIN = ROOT / "build" / "bench" / "libinsn_count.so"
IDLE = "oblako_idle"


class CountedGuest(Guest):
    """A guest under the counting plugin."""

    def __init__(self, app, **how):
        fd, self._path = tempfile.mkstemp(prefix="oblako-count-")
        os.close(fd)
        symbols = {name: (address, size) for name, address, size in sized_symbols(app.symbols)}
        plugin = f"{PLUGIN},out={self._path}"
        if IDLE in symbols:
            start, size = symbols[IDLE]
            plugin += f",idle={start:x}:{start + size:x}"
        if "main" in symbols:
            plugin += f",at=main:{symbols['main'][0]:x}"
        super().__init__(app, extra=("-plugin", plugin), **how)

    def lines(self):
        return [json.loads(line) for line in Path(self._path).read_text().splitlines()]

    def count(self):
        """The counts now."""
        before = len(self.lines())
        os.kill(self.qemu.pid, signal.SIGUSR2)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            lines = self.lines()
            if len(lines) > before and lines[-1]["event"] == "signal":
                return lines[-1]
            time.sleep(0.001)
        raise RuntimeError("the plugin does not answer")

    def kill(self):
        super().kill()
        Path(self._path).unlink(missing_ok=True)


def sized_symbols(elf):
    for line in subprocess.run(["nm", "-S", "--defined-only", str(elf)], capture_output=True,
                               text=True, check=True).stdout.splitlines():
        words = line.split()
        if len(words) == 4:
            yield words[3], int(words[0], 16), int(words[1], 16)


def to_power_off(app, **how):
    guest = CountedGuest(app, limit=60, **how)
    try:
        status = guest.wait_end()
        if status:
            raise RuntimeError(f"{app.name} ended with status {status}:\n{guest.tail()}")
        counts = {line["event"]: line for line in guest.lines()}
    finally:
        guest.kill()
    return counts["exit"] | {"to main": counts.get("main", {}).get("insns")}


def until_pong(app, **how):
    with netns.Namespace() as namespace:
        guest = CountedGuest(app, network=namespace, **how)
        try:
            # Connecting only now keeps our own retries out of the count.
            guest.wait_console("Ready to accept connections")
            with guest.redis() as redis:
                if redis.call("PING") != "PONG":
                    raise RuntimeError("no PONG")
                count = guest.count()
            return count | {"to main": next((line["insns"] for line in guest.lines()
                                             if line["event"] == "main"), None)}
        finally:
            guest.kill()


def per_request(app, command, pipeline, clients, requests=None, **how):
    """Instructions for one request: the difference between a long and a short run of
    redis-benchmark, so that connections cost nothing."""
    short = 2000 * pipeline if pipeline > 1 else 5000
    long = requests or short * 5
    with netns.Namespace() as namespace:
        guest = CountedGuest(app, network=namespace, limit=600, **how)
        try:
            guest.wait_redis()

            def run(n):
                before = guest.count()
                guest.run("redis-benchmark", "-h", guest.address[0], "-t", command.lower(), "-q",
                          "-n", str(n), "-c", str(clients), "-P", str(pipeline), timeout=300)
                after = guest.count()
                return {k: after[k] - before[k] for k in ("insns", "rep_repeats", "idle")}

            run(short)  # warm
            a, b = run(short), run(long)
        finally:
            guest.kill()
    return {k: round((b[k] - a[k]) / (long - short), 1) for k in a}


def least_memory(works, low=1, high=128):
    """The least number of MB with which works(MB) is true."""
    if not works(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle + 1, high)
    return low


def serves(app, memory):
    """Does the application do its work with that much memory?"""
    with netns.Namespace() as namespace:
        guest = Guest(app, network=namespace if app.port else None, memory=memory, limit=30)
        try:
            if not app.port:
                return guest.wait_end(10) == 0
            guest.wait_redis(10)
            with guest.redis() as redis:
                for i in range(100):
                    redis.call("SET", f"key:{i}", "xxx")
                return redis.call("GET", "key:99") == "xxx"
        except (AssertionError, OSError):
            return False
        finally:
            guest.kill()


def row(text, counts):
    extra = f" ({counts['rep_repeats']:,} rep repeats, {counts['idle']:,} idle)"
    before_main = f", {counts['to main']:,} of them before main" if counts.get("to main") else ""
    print(f"{text:<42}{counts['insns']:>14,}{extra}{before_main}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("app")
    p.add_argument("--until-pong", action="store_true")
    p.add_argument("--per-request", metavar="COMMAND", action="append", default=[])
    p.add_argument("-P", type=int, default=None, help="requests in one go (pipeline)")
    p.add_argument("-c", type=int, default=50, help="clients")
    p.add_argument("-n", type=int, default=None, help="requests")
    p.add_argument("--machine", default="microvm", choices=vm.MACHINES)
    p.add_argument("--memory", type=int, help="MB")
    p.add_argument("--least-memory", action="store_true")
    p.add_argument("--json", metavar="FILE", help="the figures, for other programs")
    a = p.parse_args()

    if not PLUGIN.exists():
        sys.exit(f"{PLUGIN} is not there: cmake --build build/cmake --target insn_count")
    try:
        app = vm.App(a.app)
    except FileNotFoundError as error:
        sys.exit(str(error))
    chosen = a.until_pong or a.per_request or a.least_memory
    how = {"machine": a.machine, "memory": a.memory}
    figures = {"image bytes": os.path.getsize(app.image)}
    print(f"{app.name} on {a.machine}, image {figures['image bytes']:,} bytes; guest instructions:")
    if app.port and (reason := netns.cannot_run()):
        sys.exit(f"cannot count {app.name}: {reason}")

    if not app.port and not chosen:
        figures["power-off"] = to_power_off(app, **how)
        row("start to power-off", figures["power-off"])
    if app.probe == "redis" and (a.until_pong or not chosen):
        figures["pong"] = until_pong(app, **how)
        row("start to first +PONG", figures["pong"])
    if app.probe == "redis":
        for command in a.per_request or ([] if chosen else ["SET", "GET"]):
            for pipeline in [a.P] if a.P else [1, 16]:
                name = f"{command.upper()} P{pipeline} c{a.c}"
                figures[name] = per_request(app, command, pipeline, a.c, a.n, **how)
                row(name, figures[name])
    if a.least_memory or not chosen:
        figures["least MB"] = least_memory(lambda mb: serves(app, mb))
        print(f"{'least memory':<42}{figures['least MB']} MB")
    if a.json:
        Path(a.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
