#!/usr/bin/env python3
"""Counts what an application's boot and work cost the guest: bench/count.py APP [--boot]
[--per-request SET|GET [-P N] [-c N]] [--least-memory] [--fits-in KB] [--stages];
bench/count.py system-bulk --bulk; bench/count.py system-loopback --loopback

Without a choice: everything there is to count for the application. An application without a port
is counted from the machine's start to power-off; redis to its first +PONG (with a static address
and with DHCP) and for each request, on a tap device in a network namespace (needs root).

"insns" leaves out the repeats of `rep` string instructions and what runs in the idle function; both
are shown beside. Firmware is included. "device accesses" are those after the firmware, from QEMU's
trace: each is an exit under KVM, where a `rep outs` of many bytes is one, and so it is one here.
Stages are those of the boot timeline (core/boot/timeline.hh).
"""

import argparse
import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from tests.system import bulk  # noqa: E402
from tests.system.dhcp_server import DhcpServer  # noqa: E402
from tests.system.guest import GUEST, HOST, MAC, PREFIX, Guest  # noqa: E402
from vmkit import netns, vm  # noqa: E402
from vmkit.resp import RedisError  # noqa: E402

PLUGIN = ROOT / "build" / "bench" / "libinsn_count.so"
IDLE = "oblako_idle"
# The page fault's stub: vector 14, stubs of 16 bytes (arch/x64/traps.S).
FAULT_STUBS, FAULT_OFFSET = "exception_stubs", 14 * 16
# The symbols that the boot timeline's stamps leave in the image.
STAGE = "oblako_stage_"


def plugin(out, symbols, *more):
    """QEMU's arguments for counting in an image with these symbols: {name: (address, size)}."""
    words = [str(PLUGIN), f"out={out}", *more]
    if IDLE in symbols:
        start, size = symbols[IDLE]
        words.append(f"idle={start:x}:{start + size:x}")
    if FAULT_STUBS in symbols:
        words.append(f"fault={symbols[FAULT_STUBS][0] + FAULT_OFFSET:x}")
    for name, symbol in (("entry", "pvh_entry"), ("main", "main")):
        if symbol in symbols:
            words.append(f"at={name}:{symbols[symbol][0]:x}")
    return "-plugin", ",".join(words)


class CountedGuest(Guest):
    """A guest under the counting plugin; with `trace` its device accesses are written down too."""

    def __init__(self, app, *, trace=False, plugged=(), extra=(), **how):
        self._folder = tempfile.TemporaryDirectory(prefix="oblako-count-")
        self._path = Path(self._folder.name) / "counts"
        self._log = Path(self._folder.name) / "log"
        self._path.touch()
        more = [*plugged, "log=1"] if trace else plugged
        extra = (*plugin(self._path, symbols_of(app.symbols), *more), *extra)
        if trace:
            extra += ("-D", str(self._log), "-d", "plugin", "-trace", "memory_region_ops_read",
                      "-trace", "memory_region_ops_write")
        super().__init__(app, extra=extra, accel="tcg", **how)

    def accesses(self):
        return Accesses(self._log.read_text())

    def lines(self):
        return [json.loads(line) for line in self._path.read_text().splitlines()]

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
        self._folder.cleanup()


class Accesses:
    """Device accesses of a trace, those of the firmware left out: how many to each mark (an event
    of the plugin), to the end, and per device."""

    # A device's message to the interrupt controller passes through the trace as a write to its first
    # register; the CPU never writes that one.
    MESSAGE = re.compile(r"write .* addr 0xfee[0-9a-f]{2}000 ")
    LINE = re.compile(r"memory_region_ops_(read|write) .* addr 0x([0-9a-f]+) .*?(?:name '(.*)')?$")
    STREAMED = ("write", "3f8")  # the console's data register, which is fed by `rep outs`

    def __init__(self, log):
        self.total = self.firmware = 0
        self.marks = {}
        self.console_bytes = 0
        self.devices = Counter()
        started = False
        before = None
        for line in log.splitlines():
            if line.startswith("mark "):
                self.marks[line[5:]] = self.total
                started = started or line == "mark entry"
                continue
            access = self.LINE.search(line)
            if access and not started:
                self.firmware += 1
            if not access or not started or self.MESSAGE.search(line):
                continue
            kind = access.group(1, 2)
            self.console_bytes += kind == self.STREAMED
            if kind == before == self.STREAMED:
                continue
            before = kind
            self.total += 1
            self.devices[access[3] or "unnamed"] += 1

    def figures(self):
        return {"total": self.total, "firmware": self.firmware, "to main": self.marks.get("main"),
                "console bytes": self.console_bytes, "devices": dict(self.devices.most_common())}


def symbols_of(elf):
    """{name: (address, size)}; assembler's symbols often have no size."""
    listing = subprocess.run(["nm", "-S", "--defined-only", str(elf)], capture_output=True,
                             text=True, check=True).stdout
    words = (line.split() for line in listing.splitlines())
    return {w[-1]: (int(w[0], 16), int(w[1], 16) if len(w) == 4 else 0) for w in words}


@contextlib.contextmanager
def booted(app, dhcp=False, **how):
    """A counted guest that has done what it boots for: it has ended, or answered its first PING."""
    with contextlib.ExitStack() as stack:
        if not app.port:
            guest = CountedGuest(app, limit=60, **how)
            stack.callback(guest.kill)
            if status := guest.wait_end():
                raise RuntimeError(f"{app.name} ended with status {status}:\n{guest.tail()}")
            yield guest
            return
        namespace = stack.enter_context(netns.Namespace())
        server = None
        if dhcp:
            with namespace.entered():
                namespace.add_tap("tap0", f"{HOST}/{PREFIX}", guest=GUEST, mac=MAC)
                server = DhcpServer("tap0")
                stack.callback(server.stop)
        guest = CountedGuest(app, network=namespace, static=not dhcp, **how)
        stack.callback(guest.kill)
        # Connecting only now keeps our own retries out of the count.
        guest.wait_console("Ready to accept connections")
        while server and server.requests_answered == 0:
            time.sleep(0.001)
        with guest.redis() as redis:
            if redis.call("PING") != "PONG":
                raise RuntimeError("no PONG")
            yield guest


def boot_counts(app, **how):
    with booted(app, **how) as guest:
        last = guest.count() if app.port else guest.lines()[-1]
        return last | {"to main": next((line["insns"] for line in guest.lines()
                                        if line["event"] == "main"), None)}


def boot_accesses(app, **how):
    with booted(app, trace=True, **how) as guest:
        return guest.accesses().figures()


def open_idle(guest, count):
    """Opens connections that say nothing, from several addresses if one has too few ports."""
    per_address = 20_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 1000, max(
        count + 1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    sockets = []
    with guest.inside():
        for n in range(count):
            s = socket.socket()
            if n >= per_address:
                s.bind((guest.add_address(n // per_address), 0))
            s.settimeout(60)
            s.connect(guest.address)
            sockets.append(s)
    return sockets


def per_request(app, command, pipeline, clients, requests=None, idle_connections=0, **how):
    """Instructions for one request: the difference between a long and a short run of
    redis-benchmark, so that connections cost nothing. `idle_connections` are open beside."""
    short = 2000 * pipeline if pipeline > 1 else 5000
    long = requests or short * 5
    if idle_connections:
        how["args"] = f"--maxclients {idle_connections + clients + 100}"
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

            idle = open_idle(guest, idle_connections)
            run(short)  # warm
            a, b = run(short), run(long)
        finally:
            guest.kill()
    for s in idle:
        s.close()
    return {k: round((b[k] - a[k]) / (long - short), 1) for k in a}


def per_megabyte(app, **how):
    """Instructions for a megabyte (2**20) of bulk TCP each way: tests/system/images/bulk.c, pieces
    of 128 kB as iperf3 has them; the difference between a long and a short transfer."""
    short, long = 16, 80
    with netns.Namespace() as namespace:
        guest = CountedGuest(app, network=namespace, limit=600, **how)
        try:
            guest.wait_console("bulk: ready")

            def run(transfer, what, megabytes):
                before = guest.count()
                transfer(guest, what, megabytes << 20)
                after = guest.count()
                return {k: after[k] - before[k] for k in ("insns", "rep_repeats", "idle")}

            figures = {}
            for name, way in {"received MB": (bulk.give, "sink"),
                              "sent MB": (bulk.take, "source")}.items():
                run(*way, short)  # warm
                a, b = run(*way, short), run(*way, long)
                figures[name] = {k: round((b[k] - a[k]) / (long - short), 1) for k in a}
            return figures
        finally:
            guest.kill()


# What tests/system/images/loopback.c does: the name of a figure, a few times, many times.
LOOPBACK = {"one": ("round trip, one thread", 1000, 11000),
            "threads": ("round trip, two threads", 1000, 11000),
            "epoll": ("round trip, epoll", 1000, 11000),
            "bulk": ("MB", 16, 80),
            "connect": ("connection", 100, 1100),
            "crowd": ("connection, among 500 listeners", 100, 1100)}


def loopback(app, **how):
    """What connections within the machine cost, each figure for one round trip, megabyte or
    connection."""
    for what, (name, few, many) in LOOPBACK.items():
        a, b = (boot_counts(app, args=f"{what} {n}", **how) for n in (few, many))
        yield name, {k: round((b[k] - a[k]) / (many - few), 1)
                     for k in ("insns", "rep_repeats", "idle")}


def least_memory(works, low=256, high=128 * 1024, step=64):
    """The least memory with which works(kB) is true, in kB, to the step."""
    if not works(high):
        return None
    while low < high:
        middle = (low + high) // 2 // step * step
        low, high = (low, middle) if works(middle) else (middle + step, high)
    return low


def serves(app, kilobytes):
    """Does the application do its work with that much memory?"""
    with netns.Namespace() as namespace:
        guest = Guest(app, network=namespace if app.port else None, memory=f"{kilobytes}k",
                      limit=30)
        try:
            if not app.port:
                return guest.wait_end(10) == 0
            guest.wait_redis(10)
            with guest.redis() as redis:
                redis.pipeline([("SET", f"key:{i}", "xxx") for i in range(1000)])
                return redis.call("GET", "key:999") == "xxx" and redis.call("DBSIZE") == 1000
        except (AssertionError, OSError, RedisError):
            return False
        finally:
            guest.kill()


STAGE_FIGURES = ("insns", "rep_repeats", "accesses", "faults", "pages")


def stages(app, **how):
    """What each stage of the boot costs, in the order in which they were reached: what was counted
    since the one before it. The first is the firmware's, the last power-off or the first +PONG."""
    symbols = symbols_of(app.symbols)
    marks = [f"at={name.removeprefix(STAGE)}:{address:x}"
             for name, (address, _) in symbols.items() if name.startswith(STAGE)]
    with booted(app, trace=True, plugged=(*marks, "pages=1"), **how) as guest:
        accesses = guest.accesses()
        if app.port:
            guest.count()
        lines = guest.lines()
    found, before = {}, dict.fromkeys(STAGE_FIGURES, 0)
    for line in lines:
        name = {"exit": "power-off", "signal": "pong"}.get(line["event"], line["event"])
        if name not in found:
            now = line | {"accesses": accesses.marks.get(name, accesses.total if found else 0)}
            found[name] = {"stage": name} | {k: now[k] - before[k] for k in STAGE_FIGURES}
            before = now
    return list(found.values())


def print_stages(found):
    print(f"{'stage reached':<16}" + "".join(f"{title:>14}" for title in STAGE_FIGURES))
    total = {"stage": "sum"} | {k: sum(s[k] for s in found) for k in STAGE_FIGURES}
    for stage in [*found, total]:
        print(f"{stage['stage']:<16}" + "".join(f"{stage[k]:>14,}" for k in STAGE_FIGURES))


def growth(app, small=64, large=8192, **how):
    """By how many per cent the count grows with the machine's memory."""
    a, b = (boot_counts(app, **how | {"memory": mb})["insns"] for mb in (small, large))
    return round((b - a) / a * 100, 2)


def variation(app, runs=2, **how):
    """The difference between the largest and the smallest count."""
    counts = [boot_counts(app, **how)["insns"] for _ in range(runs)]
    return max(counts) - min(counts)


def say(text, value, extra=""):
    print(f"{text:<42}{value:>14}{extra}", flush=True)


def row(text, counts):
    extra = f" ({counts['rep_repeats']:,} rep repeats, {counts['idle']:,} idle)"
    before_main = f", {counts['to main']:,} of them before main" if counts.get("to main") else ""
    say(text, f"{counts['insns']:,}", extra + before_main)


def access_row(text, figures):
    devices = ", ".join(f"{name} {n}" for name, n in figures["devices"].items())
    say(text, figures["total"], f" ({figures['to main']} of them before main; {devices};"
                                f" {figures['console bytes']} bytes on the console)")


def boot_figures(app, figures, how):
    """What it costs to come up: one entry a figure, printed as it is found."""
    if not app.port:
        figures["power-off"] = boot_counts(app, **how)
        row("start to power-off", figures["power-off"])
        figures["device accesses"] = boot_accesses(app, **how)
        access_row("device accesses to power-off", figures["device accesses"])
        figures["variation"] = variation(app, **how)
        say("difference between two runs", figures["variation"])
        figures["growth %"] = growth(app, **how)
        say("growth from 64 MB to 8 GB", f"{figures['growth %']} %")
    elif app.probe == "redis":
        figures["pong"] = boot_counts(app, **how)
        row("start to first +PONG", figures["pong"])
        figures["pong with DHCP"] = boot_counts(app, dhcp=True, **how)
        row("the same with DHCP", figures["pong with DHCP"])
        figures["DHCP"] = figures["pong with DHCP"]["insns"] - figures["pong"]["insns"]
        say("what DHCP adds", f"{figures['DHCP']:,}")
        figures["device accesses"] = boot_accesses(app, **how)
        access_row("device accesses to first +PONG", figures["device accesses"])


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("app")
    p.add_argument("--boot", action="store_true", help="to power-off, or to the first +PONG")
    p.add_argument("--per-request", metavar="COMMAND", action="append", default=[])
    p.add_argument("--bulk", action="store_true", help="a megabyte of TCP each way")
    p.add_argument("--loopback", action="store_true", help="connections within the machine")
    p.add_argument("-P", type=int, default=None, help="requests in one go (pipeline)")
    p.add_argument("-c", type=int, default=50, help="clients")
    p.add_argument("-n", type=int, default=None, help="requests")
    p.add_argument("--idle-connections", type=int, default=0, metavar="N",
                   help="open beside the clients and silent")
    p.add_argument("--machine", default="microvm", choices=vm.MACHINES)
    p.add_argument("--memory", help="MB, or with a unit: 1536k")
    p.add_argument("--least-memory", action="store_true")
    p.add_argument("--fits-in", type=int, metavar="KB",
                   help="only whether it does its work in so much; that is then its least memory")
    p.add_argument("--stages", action="store_true", help="what each stage of the boot costs")
    p.add_argument("--json", metavar="FILE", help="the figures, for other programs")
    a = p.parse_args()

    if not PLUGIN.exists():
        sys.exit(f"{PLUGIN} is not there: cmake --build build/cmake --target insn_count")
    try:
        app = vm.App(a.app, vm.BUILD / "system" if a.app.startswith("system-") else vm.BUILD)
    except FileNotFoundError as error:
        sys.exit(str(error))
    chosen = a.boot or a.stages or a.per_request or a.least_memory or a.fits_in or a.bulk or a.loopback
    how = {"machine": a.machine, "memory": a.memory}
    figures = {"image bytes": os.path.getsize(app.image)}
    print(f"{app.name} on {a.machine}, image {figures['image bytes']:,} bytes; guest instructions:")
    if (app.port or a.bulk) and (reason := netns.cannot_run()):
        sys.exit(f"cannot count {app.name}: {reason}")

    if a.boot or not chosen:
        boot_figures(app, figures, how)
    if app.probe == "redis":
        for command in a.per_request or ([] if chosen else ["SET", "GET"]):
            for pipeline in [a.P] if a.P else [1, 16]:
                name = f"{command.upper()} P{pipeline} c{a.c}"
                if a.idle_connections:
                    name += f" of {a.c + a.idle_connections}"
                figures[name] = per_request(app, command, pipeline, a.c, a.n,
                                            a.idle_connections, **how)
                row(name, figures[name])
    if a.bulk:
        figures |= per_megabyte(app, **how)
        for name in ("received MB", "sent MB"):
            row(name, figures[name])
    if a.loopback:
        for name, counts in loopback(app, **how):
            figures[name] = counts
            row(name, counts)
    if a.least_memory or not chosen:
        figures["least kB"] = least_memory(lambda kb: serves(app, kb))
        say("least memory", f"{figures['least kB']} kB")
    if a.fits_in:
        if not serves(app, a.fits_in):
            sys.exit(f"{app.name} does not do its work in {a.fits_in} kB")
        figures["least kB"] = a.fits_in
    if a.stages:
        figures["stages"] = stages(app, **how)
        print_stages(figures["stages"])
    if a.json:
        Path(a.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
