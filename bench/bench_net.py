#!/usr/bin/env python3
"""The network beside a minimal Linux guest, in one run: make bench-net, or

    bench/bench_net.py [--only PART,…] [--quick] [--without-linux]

Parts: requests (guest instructions for one), bulk (octets of TCP for a thousand instructions), speed
(requests a second and what they cost the vCPU), http (the same of apps/httpd under wrk), iperf (bulk's
figure by iperf 2, and its rate), connections (10,000 open; 10,000 active), latency (p50 and p99 at
half of Linux's saturating load), impaired (bulk through a bad network). Ours and Linux take turns
where time is measured, so that a busy host hurts both. Linux's idle loop halts: what it executes there
is in its counts, some dozens of instructions a wake-up. Results: build/bench/net.json, net.md (a
table) and net.svg. Needs root.
"""

import argparse
import ipaddress
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from bench import count, iperf  # noqa: E402
from tests.system.guest import GUEST, HOST, MAC, PREFIX, Guest  # noqa: E402
from tests.system.relay import NETWORKS, transfer  # noqa: E402
from vmkit import netns, vm  # noqa: E402

OUT = ROOT / "build" / "bench"
LATENCY = ROOT / "build" / "tools" / "latency"
DEBUG_THREADS = ("-name", "bench,debug-threads=on")
# What is aimed at, as ours divided by Linux's.
TARGETS = {"GET P1": 5500 / 15376, "SET P1": 7000 / 16453, "GET P16": 3000 / 4127,
           "SET P16": 4700 / 5163, "rate P1": 2.2, "rate P16": 1.5, "p99": 0.6,
           "received": 1.5, "sent": 1.5, "iperf received": 1.5, "iperf sent": 1.5}


class System:
    """`how` is what Guest needs to boot redis; other(name) is the system with another application."""

    def __init__(self, name, app, other, **how):
        self.name, self.app, self.other, self.how = name, app, other, how

    def boot(self, namespace, extra=(), **more):
        how = self.how | more
        return Guest(self.app, network=namespace, limit=900,
                     extra=(*how.pop("extra", ()), *extra), **how)


class LinuxApp:
    """A program in the Linux guest, as vm.App describes an application of ours."""

    def __init__(self, about, port, probe=None):
        self.name, self.port, self.probe, self.memory = "linux", port, probe, 128
        self.image = self.symbols = Path(about["kernel"])


# Applications of ours that are compared, and their ports: built by `make image APP=...`, and for Linux
# from the same file with the flags of redis there.
PROGRAMS = {"system-bulk": ("tests/system/images/bulk.c", 5201),
            "httpd": ("apps/httpd/httpd.c", 80)}


def ours():
    def other(name):
        done = subprocess.run(["make", "-s", "image", f"APP={name}"], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(done.stdout)
        folder = vm.BUILD / "system" if name.startswith("system-") else vm.BUILD
        arguments = {"args": "-s"} if name == "iperf" else {}
        return System("Oblako", vm.App(name, folder), other, memory=128, **arguments)
    return System("Oblako", vm.App("redis"), other)


def linux():
    def guest(*programs):
        script = ROOT / "bench" / "linux_guest.sh"
        done = subprocess.run([script, "tiny", *programs], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit("no Linux guest to compare with (see above); --without-linux leaves it out")
        return json.loads(done.stdout)

    def system(about, name, app, other, arguments=""):
        line = (f"{about['apps'][name]['append']}{arguments} address={GUEST}/{PREFIX} gateway={HOST} "
                "sysctl.net.ipv4.tcp_no_metrics_save=1")  # connections are independent, as ours are
        return System("Linux", app, other, options=line, static=False,
                      extra=("-initrd", about["apps"][name]["initrd"]))

    def other(name):
        if name == "iperf":
            about = guest(f"iperf={iperf.linux_program(OUT)}")
            return system(about, name, LinuxApp(about, iperf.PORT), other, ",-s")
        source, port = PROGRAMS[name]
        program = OUT / f"linux-{name}"
        subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", program, ROOT / source], check=True)
        files = f",srv/index.html={ROOT}/apps/httpd/root/srv/index.html" if name == "httpd" else ""
        about = guest(f"{name}={program}{files}")
        return system(about, name, LinuxApp(about, port), other)

    about = guest()
    return system(about, "redis", LinuxApp(about, 6379, "redis"), other)


# --- parts; each takes a system and returns {row: figure}


def requests(system, quick):
    """Guest instructions for one request, 50 clients."""
    figures = {}
    for pipeline in (1, 16):
        for command in ("GET", "SET"):
            counted = count.per_request(system.app, command, pipeline, 50,
                                        15_000 * pipeline if quick else None, **system.how)
            figures[f"{command} P{pipeline}"] = counted["insns"]
    return figures


def vcpu_seconds(guest):
    """What the thread that runs the guest has used. QEMU names it with debug-threads."""
    for task in Path(f"/proc/{guest.qemu.pid}/task").iterdir():
        if (task / "comm").read_text().startswith("CPU 0"):
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise RuntimeError("no vCPU thread")


def speed(systems, quick):
    """Requests a second, and microseconds of the vCPU's for each; the median of some rounds in which
    the systems take turns."""
    rounds = 3 if quick else 7
    seen = {s.name: {} for s in systems}
    with Ending() as stack:
        guests = {}
        for s in systems:
            namespace = stack.enter(netns.Namespace())
            guests[s.name] = stack.guest(s.boot(namespace, DEBUG_THREADS))
            guests[s.name].wait_redis()
        for _ in range(rounds):
            for pipeline, n in ((1, 10_000), (16, 100_000)):
                for name, guest in guests.items():
                    before = vcpu_seconds(guest)
                    text = guest.run("redis-benchmark", "-h", GUEST, "-t", "get", "-q", "-c", "50",
                                     "-n", str(n), "-P", str(pipeline), timeout=300)
                    rate = re.findall(r"([\d.]+) requests per second", text)[-1]
                    seen[name].setdefault(f"rate P{pipeline}", []).append(float(rate))
                    used = (vcpu_seconds(guest) - before) * 1e6 / n
                    seen[name].setdefault(f"vCPU P{pipeline}", []).append(used)
    return {name: {row: statistics.median(values) for row, values in rows.items()}
            for name, rows in seen.items()}


def bulk(system, quick):
    """Octets of TCP for a thousand instructions, iterations of `rep` apart, each way."""
    other = system.other("system-bulk")
    costs = count.per_megabyte(other.app, **other.how)
    return {row.split()[0]: (1 << 20) / (cost["insns"] / 1000) for row, cost in costs.items()}


def wait_listening(guest):
    deadline = time.monotonic() + 60
    while True:
        try:
            return guest.connect(0.5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def http(systems, quick):
    """wrk on a small file, 50 connections: requests a second, and what they cost the vCPU."""
    rounds, seconds = (3, 3) if quick else (7, 10)
    seen = {s.name: {} for s in systems}
    with Ending() as stack:
        guests = {}
        for s in systems:
            namespace = stack.enter(netns.Namespace())
            guests[s.name] = stack.guest(s.other("httpd").boot(namespace, DEBUG_THREADS))
            wait_listening(guests[s.name])
        for _ in range(rounds):
            for name, guest in guests.items():
                before = vcpu_seconds(guest)
                text = guest.run("wrk", "-t1", "-c50", f"-d{seconds}s", f"http://{GUEST}/",
                                 timeout=60)
                served = int(re.search(r"(\d+) requests in", text)[1])
                if "Socket errors" in text or "Non-2xx" in text:
                    raise RuntimeError(text)
                rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
                seen[name].setdefault("wrk rate", []).append(rate)
                used = (vcpu_seconds(guest) - before) * 1e6 / served
                seen[name].setdefault("wrk vCPU", []).append(used)
    return {name: {row: statistics.median(values) for row, values in rows.items()}
            for name, rows in seen.items()}


def iperf_rows(systems, quick):
    """Octets for a thousand instructions each way, and Mbit/s: the median of rounds in turns."""
    rounds, seconds = (3, 2) if quick else (7, 5)
    servers = {s.name: s.other("iperf") for s in systems}
    figures = {name: {f"iperf {way}": octets for way, octets in
                      iperf.octets_per_kilo(s.app, **s.how).items()}
               for name, s in servers.items()}
    with Ending() as stack:
        guests = {}
        for name, s in servers.items():
            guests[name] = stack.guest(s.boot(stack.enter(netns.Namespace())))
            iperf.wait_listening(guests[name])
        for way, arguments in iperf.WAYS.items():
            seen = {name: [] for name in guests}
            for _ in range(rounds):
                for name, guest in guests.items():
                    seen[name].append(iperf.rate(guest, arguments, seconds))
            for name, rates in seen.items():
                figures[name][f"iperf {way}, rate"] = statistics.median(rates)
    return figures


class Ending:
    """Guests and namespaces, ended in order whatever happens."""

    def __init__(self):
        self.ends = []

    def enter(self, namespace):
        self.ends.append(namespace.close)
        return namespace

    def guest(self, guest):
        self.ends.append(guest.kill)
        return guest

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in reversed(self.ends):
            end()


# A guest whose clock goes by its instructions, one a nanosecond: what it does by time (redis looks at
# each client once a second, TCP acknowledges after a while) costs a request as much as on a machine
# that is not emulated.
BY_INSTRUCTIONS = ("-icount", "shift=0")


def without_haste(namespace):
    """The clients' side of thousands of connections to an emulated guest: nothing is dropped in the
    tap's queue, and nothing is sent again because the guest takes longer for all of them than a real
    machine's few milliseconds."""
    network = str(ipaddress.ip_network(f"{HOST}/{PREFIX}", strict=False))
    with namespace.entered():
        namespace.add_tap("tap0", f"{HOST}/{PREFIX}", guest=GUEST, mac=MAC, queue=30_000)
        namespace.run("ip", "route", "replace", network, "dev", "tap0", "src", HOST, "rto_min", "5s")
        namespace.sysctl("net/ipv4/tcp_early_retrans", "0")  # no probes for a lost tail


def connections(system, quick):
    """Instructions for a GET with 50 connections, with 9,900 idle ones beside, with 9,900 active."""
    with netns.Namespace() as namespace:
        without_haste(namespace)
        how = dict(system.how, memory=3072,  # redis takes as many clients as fit into it
                   extra=(*system.how.get("extra", ()), *BY_INSTRUCTIONS))
        guest = count.CountedGuest(system.app, network=namespace, limit=900, **how)
        try:
            guest.wait_redis(200)  # by its instructions' clock Linux takes a minute to boot

            def settled(clients):
                """Waits until redis has let go of all but so many clients of earlier rounds."""
                deadline = time.monotonic() + 60
                with guest.redis(60) as client:
                    while int(client.info()["connected_clients"]) > clients + 1:
                        if time.monotonic() > deadline:
                            raise RuntimeError("redis keeps clients that have left")
                        time.sleep(0.5)

            def one(clients, n, beside=0):
                def run(requests):
                    settled(beside)
                    before = guest.count()
                    guest.run("redis-benchmark", "-h", GUEST, "-t", "get", "-q", "-c", str(clients),
                              "-n", str(requests), timeout=550)
                    return guest.count()["insns"] - before["insns"]
                run(n)
                return (run(3 * n) - run(n)) / (2 * n)

            figures = {"50 open": one(50, 20_000)}
            idle = [guest.redis(60) for _ in range(9_900)]
            figures["9,950 open"] = one(50, 20_000, beside=len(idle))
            for client in idle:
                client.close()
            figures["9,900 active"] = one(9_900, 60_000)
        finally:
            guest.kill()
    return figures


def latency(systems, quick, rate):
    """At one fixed rate for all of them: half of what Linux can do."""
    seen = {}
    rounds = 2 if quick else 5
    with Ending() as stack:
        guests = {}
        for s in systems:
            namespace = stack.enter(netns.Namespace())
            guests[s.name] = stack.guest(s.boot(namespace))
            guests[s.name].wait_redis()
        for _ in range(rounds):
            for name, guest in guests.items():
                text = guest.run(str(LATENCY), GUEST, "6379", str(rate), "5", "50", timeout=60,
                                 check=False)
                got = json.loads(text.splitlines()[-1])
                for row in ("p50", "p99"):
                    seen.setdefault(name, {}).setdefault(row, []).append(got[row])
    return {name: {row: statistics.median(v) for row, v in rows.items()}
            for name, rows in seen.items()}


# Transfers through each network, apart from those whose time is set by the network alone.
TRANSFERS, FEW_TRANSFERS = 15, {"50 ms delay": 5, "200 kB/s": 3}


def impaired(systems, quick):
    """kB/s of bulk data through each network of test_impaired.py, there and back: the median of some
    transfers, each with the bytes and the faults of its own seed. `spread` has their quartiles, and
    how many packets were sent again."""
    figures = {s.name: {} for s in systems} | {"spread": {}}
    for network, (faults, _, short, long) in NETWORKS.items():
        size = short if quick else long // 4
        count = min(5 if quick else TRANSFERS, FEW_TRANSFERS.get(network, TRANSFERS))
        seen = transfers(systems, faults, size, count)
        for (name, way), samples in seen.items():
            rates = [rate for rate, _ in samples]
            figures[name][f"{network}, {way}"] = statistics.median(rates)
            low, _, high = statistics.quantiles(rates)
            figures["spread"].setdefault(f"{network}, {way}", {})[name] = (
                low, high, statistics.mean(again for _, again in samples))
    return figures


def transfers(systems, faults, size, count):
    """{(system, "in" or "out"): [(kB/s, packets sent again), …]}, a connection for each transfer."""
    seen = {}
    with Ending() as stack:
        guests = {}
        for s in systems:
            namespace = stack.enter(netns.Namespace())
            with namespace.entered():  # no connection is to know of those before
                namespace.sysctl("net/ipv4/tcp_no_metrics_save", "1")
            guests[s.name] = stack.guest(s.boot(namespace, memory=256, faults=faults))
            guests[s.name].wait_redis()
        for seed in range(count):
            for name, guest in guests.items():
                guest.relay.renew()
                with guest.redis(600) as redis:
                    there, back = transfer(redis, size, seed)
                did = guest.relay.renew()
                for way, seconds, side in (("in", there, "to_guest"), ("out", back, "to_client")):
                    seen.setdefault((name, way), []).append(
                        (size / seconds / 1000, did[side]["repeated"]))
    return seen


# --- results


UNITS = {"requests": "instructions", "bulk": "octets a thousand instructions", "speed": "a second",
         "http": "a second", "iperf": "octets a thousand instructions",
         "connections": "instructions a GET", "latency": "us", "impaired": "kB/s"}


def unit(part, row):
    if "vCPU" in row:
        return "us of vCPU each"
    return "Mbit/s" if part == "iperf" and "rate" in row else UNITS[part]


def rows(results):
    """(part, row, ours, Linux's or None, ratio or None)"""
    for part, systems in results.items():
        for row, ours in systems.get("Oblako", {}).items():
            theirs = systems.get("Linux", {}).get(row)
            yield part, row, ours, theirs, ours / theirs if theirs else None


def table(results):
    lines = ["| | unit | Oblako | Linux | ratio | target |", "|---|---|---|---|---|---|"]
    for part, row, ours, theirs, ratio in rows(results):
        target = TARGETS.get(row)
        lines.append("| %s | %s | %s | %s | %s | %s |" % (
            row, unit(part, row),
            f"{ours:,.0f}" if ours >= 100 else f"{ours:,.1f}",
            "" if theirs is None else f"{theirs:,.0f}" if theirs >= 100 else f"{theirs:,.1f}",
            f"{ratio:.2f}" if ratio else "", f"{target:.2f}" if target else
            "0.80" if part == "impaired" else ""))
    return "\n".join(lines) + "\n"


def spread(results):
    """The transfers through bad networks: quartiles, and packets sent again in each."""
    by_row = results.get("impaired", {}).get("spread")
    if not by_row:
        return ""
    lines = ["", "| kB/s: quartiles; packets sent again | " + " | ".join(next(iter(by_row.values()))) +
             " |", "|---|" + "---|" * len(next(iter(by_row.values())))]
    for row, systems in by_row.items():
        lines.append(f"| {row} | " + " | ".join(
            f"{low:,.0f} to {high:,.0f}; {again:,.0f}" for low, high, again in systems.values()) + " |")
    return "\n".join(lines) + "\n"


LESS_IS_BETTER = ("instructions", "us", "us of vCPU each")


def picture(results):
    """A bar for every row: how many times better than Linux, on a logarithmic scale; the line is
    Linux. Where less is better, it is Linux's figure divided by ours."""
    import math
    bars = [(row, 1 / ratio if unit(part, row) in LESS_IS_BETTER else ratio)
            for part, row, _, _, ratio in rows(results) if ratio]
    width, height, left, middle = 720, 22 * len(bars) + 50, 210, 460
    scale = 220 / math.log(10)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             'font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             '<text x="10" y="18" font-size="14">Times a minimal Linux guest: to the right is better</text>']
    for value in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        x = middle + scale * math.log(value)
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="30" y2="{height - 16}" '
                     f'stroke="{"black" if value == 1 else "#ddd"}"/>'
                     f'<text x="{x:.0f}" y="{height - 4}" text-anchor="middle">{value:g}</text>')
    for n, (name, ratio) in enumerate(bars):
        y = 34 + 22 * n
        end = middle + scale * math.log(min(max(ratio, 0.1), 10))
        parts.append(f'<text x="{left - 10}" y="{y + 12}" text-anchor="end">{name}</text>'
                     f'<rect x="{min(end, middle):.0f}" y="{y}" width="{abs(end - middle):.0f}" '
                     f'height="15" fill="#4a7ab5"/>'
                     f'<text x="{width - 10}" y="{y + 12}" text-anchor="end">{ratio:.2f}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", help="parts, with commas")
    p.add_argument("--quick", action="store_true", help="fewer rounds, smaller transfers")
    p.add_argument("--without-linux", action="store_true")
    a = p.parse_args()
    parts = a.only.split(",") if a.only else list(UNITS)
    if set(parts) - set(UNITS):
        p.error(f"parts are {', '.join(UNITS)}")
    if reason := netns.cannot_run():
        sys.exit(f"cannot run: {reason}")
    systems = [ours()] + ([] if a.without_linux else [linux()])
    OUT.mkdir(parents=True, exist_ok=True)
    saved = OUT / "net.json"
    # Parts that are not asked for keep what an earlier run found.
    results = json.loads(saved.read_text()) if a.only and saved.exists() else {}
    for part in parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        if part in ("requests", "bulk", "connections"):
            results[part] = {s.name: globals()[part](s, a.quick) for s in systems}
        elif part == "latency":
            known = results.get("speed") or speed(systems, a.quick)
            rate = known.get("Linux", known["Oblako"])["rate P1"] / 2
            results[part] = latency(systems, a.quick, round(rate))
        elif part == "iperf":
            results[part] = iperf_rows(systems, a.quick)
        else:
            results[part] = globals()[part](systems, a.quick)
        saved.write_text(json.dumps(results, indent=1) + "\n")
    text = table(results) + spread(results)
    (OUT / "net.md").write_text(text)
    (OUT / "net.svg").write_text(picture(results))
    print(text, end="")
    print(f"load on the host: {os.getloadavg()[0]:.1f}; also {OUT}/net.json, net.svg")


if __name__ == "__main__":
    main()
