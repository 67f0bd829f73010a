#!/usr/bin/env python3
"""How long systems take to come up, and what it costs: what `make bench-boot [APP=...]` calls.

Counts every system (instructions, device accesses, image), then lets bench/boot_bench.cc, a Google
Benchmark program, start each of them many times, interleaved, and leaves its JSON in
build/bench/boot.json and a picture of our stages in build/bench/boot.svg. Needs root for a tap device
in a network namespace where an application answers on the network.

Times are of the host's clock and from a machine that may do other things: compare them in one run
only. Counts are exact.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from bench import boot_picture, count, systems  # noqa: E402
from tests.system.guest import GUEST, HOST, MAC, PREFIX  # noqa: E402
from vmkit import netns, vm  # noqa: E402

OUT = ROOT / "build" / "bench"
LINUX = ("tiny", "cloud")


def choose(apps, linux, own):
    """The systems in the order of the report; what cannot be made here is said and left out."""
    makers = [("null guest", systems.null)]
    for name in apps:
        makers.append((name, lambda name=name: systems.ours(name)))
        makers += [(f"Linux {kind} with {name}",
                    lambda name=name, kind=kind: systems.linux(kind, name))
                   for kind in linux if name in ("hello", "redis")]
    chosen = []
    for what, make in makers:
        try:
            chosen.append(make())
        except (RuntimeError, FileNotFoundError) as error:
            print(f"bench-boot: {what} is left out: {error}", file=sys.stderr)
    if own:
        chosen += systems.named(own)
    return chosen


def on(accelerator, command):
    """QEMU's command line, which is written for TCG, for another accelerator."""
    if accelerator == "tcg":
        return command
    other = {("-accel", "tcg"): accelerator, ("-cpu", "max"): vm.processor(accelerator)}
    return command[:1] + [other.get(pair, pair[1]) for pair in zip(command, command[1:])]


def describe(system, accelerator):
    """For boot_bench.cc, whose head says what the lines mean."""
    yield f"system {system.name}"
    yield from (f"arg {word}" for word in on(accelerator, system.command))
    yield from (f"mark {name} {address:x}" for name, address in system.marks.items())
    if system.answers is not None:
        yield f"ready {system.answers}"
        yield f"ask {GUEST} 6379"
    yield from (f"count {name} {number}" for name, number in system.counts.items())
    yield "end"


def measure(chosen, repetitions, accelerator, report):
    listing = OUT / "systems.txt"
    listing.write_text("\n".join(line for s in chosen for line in describe(s, accelerator)) + "\n")
    command = [OUT / "boot_bench", f"--benchmark_repetitions={repetitions}",
               "--benchmark_enable_random_interleaving=true", f"--benchmark_out={report}",
               "--benchmark_out_format=json", f"--benchmark_context=qemu={qemu_version()}",
               f"--benchmark_context=accelerator={accelerator}", listing]
    if accelerator == "tcg":  # there are no plugins elsewhere
        command.append(count.PLUGIN)
    with open(OUT / "boot_bench.txt", "w", encoding="utf-8") as text:
        subprocess.run(command, check=True, stdout=text, stderr=subprocess.STDOUT)


def qemu_version():
    done = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True)
    return done.stdout.split("version ")[1].split()[0]


def medians(report, chosen):
    """{system: {figure: median over the repetitions}} in the order of `chosen`, failures named."""
    runs = {}
    for entry in json.loads(report.read_text())["benchmarks"]:
        name = entry["run_name"].removesuffix("/iterations:1/manual_time")
        if entry["run_type"] != "iteration":
            continue
        if entry.get("error_occurred"):
            print(f"bench-boot: {name}: {entry['error_message']}", file=sys.stderr)
            continue
        runs.setdefault(name, []).append(
            {k: v for k, v in entry.items() if isinstance(v, (int, float))} |
            {"total_ms": entry["real_time"]})
    return {name: {k: statistics.median(r[k] for r in of if k in r) for k in of[0]}
            for name, of in ((s.name, runs.get(s.name)) for s in chosen) if of}


COLUMNS = (("total_ms", "total ms"), ("qemu_cpu_ms", "CPU ms"),
           ("to_first_instruction_ms", "first insn"), ("to_main_ms", "main"),
           ("to_listen_ms", "listen"), ("insns", "instructions"), ("blocks", "blocks"),
           ("device_accesses", "accesses"), ("qemu_peak_kB", "QEMU kB"),
           ("image_bytes", "image bytes"))
RATIOS = ("total_ms", "qemu_cpu_ms")


def table(of):
    null = of.get("null")
    print(f"{'median':<20}" + "".join(f"{title:>13}" for _, title in COLUMNS) + "   x null guest (by CPU)")
    for name, figures in of.items():
        cells = "".join(f"{figures[key]:>13,.1f}" if key.endswith("_ms") and key in figures else
                        f"{figures[key]:>13,.0f}" if key in figures else f"{'':>13}"
                        for key, _ in COLUMNS)
        ratio = "   {:.2f} ({:.2f})".format(*(figures[k] / null[k] for k in RATIOS)) if null else ""
        print(f"{name:<20}{cells}{ratio}")


@contextlib.contextmanager
def network(chosen):
    """A namespace with the tap device, if any of them is reached through it."""
    if all(system.answers is None for system in chosen):
        yield
        return
    with netns.Namespace() as namespace, namespace.entered():
        namespace.add_tap(systems.TAP, f"{HOST}/{PREFIX}", guest=GUEST, mac=MAC)
        yield


def run(apps, linux, own, repetitions, accelerator, report):
    """Counts and measures all; the medians."""
    chosen = choose(apps, [k for k in linux.split(",") if k in LINUX], own)
    with network(chosen):
        for system in chosen:
            print(f"counting {system.name}", file=sys.stderr, flush=True)
            system.count()
        print(f"{repetitions} repetitions", file=sys.stderr, flush=True)
        measure(chosen, repetitions, accelerator, report)
    return medians(report, chosen)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("apps", nargs="*", help="default: hello redis")
    p.add_argument("--repetitions", type=int, default=int(os.environ.get("REPETITIONS") or 10))
    p.add_argument("--linux", default=os.environ.get("LINUX") or ",".join(LINUX),
                   help="tiny,cloud (both; building tiny takes minutes the first time) or none")
    p.add_argument("--accel", default=os.environ.get("ACCEL") or vm.accelerator()[0],
                   help="for the times; counts are always taken under tcg")
    p.add_argument("--systems", default=os.environ.get("SYSTEMS"), metavar="FILE",
                   help="a JSON list of systems of your own; see systems.named in bench/systems.py")
    p.add_argument("--report", default=str(OUT / "boot.json"), metavar="FILE")
    p.add_argument("--picture", default=str(OUT / "boot.svg"), metavar="FILE")
    a = p.parse_args()
    apps = a.apps or ["hello", "redis"]
    for name in apps:
        if vm.App(name).port and vm.App(name).probe != "redis":
            sys.exit(f"bench-boot: nobody knows how to ask {name} yet: hello, redis, or an "
                     "application that ends by itself")
    if any(vm.App(name).port for name in apps) and (reason := netns.cannot_run()):
        sys.exit(f"bench-boot: {reason}")

    table(run(apps, a.linux, a.systems, a.repetitions, a.accel, Path(a.report)))
    boot_picture.draw({name: count.stages(vm.App(name)) for name in apps}, a.picture)
    print(f"report: {a.report}\npicture: {a.picture}")


if __name__ == "__main__":
    main()
