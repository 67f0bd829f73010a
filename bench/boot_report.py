#!/usr/bin/env python3
"""Measures everything that docs/boot.md shows and writes it there, between its marker lines, and
draws docs/boot.svg beside it: bench/boot_report.py [--repetitions N] [--linux-repetitions N]. Needs
root (a tap device) and what `make bench-boot` needs; some minutes. Ours and the null guest are first
timed alone, then fewer times beside Linux, which takes long. What stands outside the markers is left
as it is."""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from bench import bench_boot, boot_picture, count  # noqa: E402
from vmkit import vm  # noqa: E402

DOCUMENT, PICTURE = ROOT / "docs" / "boot.md", ROOT / "docs" / "boot.svg"
REPORT = bench_boot.OUT / "boot.json"
APPS = ("hello", "redis")

# The model of a run under KVM; where each number is from stands in docs/boot.md.
NS_PER_INSTRUCTION = 0.5
US_PER_EXIT_TO_MONITOR = 3.0
US_PER_EXIT_IN_KERNEL = 1.0
US_PER_FIRST_TOUCH = 1.0
IN_KERNEL_DEVICES = {"apic-msi", "ioapic", "pic", "pit", "io", "kvm-apic-msi"}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def thousand(n):
    return f"{n:,}"


def count_all():
    figures = {}
    for name in APPS:
        app = vm.App(name)
        f = figures[name] = {"image bytes": app.image.stat().st_size}
        print(f"{name}:", flush=True)
        count.boot_figures(app, f, {})
        f["least kB"] = count.least_memory(lambda kb, app=app: count.serves(app, kb))
        count.say("least memory", f"{f['least kB']} kB")
        f["stages"] = count.stages(app)
    return figures


def beyond_redis(pong):
    """Firmware, kernel, network: what was executed outside the application's part of memory."""
    return pong["insns"] - pong["program"]


def targets(figures, times, beside):
    hello, redis = figures["hello"], figures["redis"]
    boot_hello, boot_redis = "`bench/count.py hello --boot`", "`bench/count.py redis --boot`"
    least = "`bench/count.py {} --least-memory`"
    wall = "`make bench-boot REPETITIONS=50`"
    pong = redis["pong"]

    def ratio(of, name):
        if name not in of or "null" not in of:
            return "not measured"
        clock, cpu = (of[name][k] / of["null"][k] for k in bench_boot.RATIOS)
        return f"{clock:.2f} (by QEMU's CPU time {cpu:.2f})"

    def linux(name, key, peers=""):
        """The best peers, the small Linux among them where it was measured."""
        peer = beside.get(f"linux-tiny/{name}")
        own = [f"Linux, small: {peer[key]:,.0f}"] if peer and key in peer else []
        return "; ".join(([peers] if peers else []) + own) or "–"

    def linux_ratio(name):
        peer = f"linux-tiny/{name}"
        return f"Linux, small: {ratio(beside, peer)}" if peer in beside else "–"

    million = lambda n: f"{n / 1e6:.2f} M"  # noqa: E731
    return table(
        ("", "target", "today", "best peer", "command"),
        [("hello: first instruction to `main`", "15,000", thousand(hello["power-off"]["to main"]),
          "–", boot_hello),
         ("hello: to power-off", "25,000", thousand(hello["power-off"]["insns"]),
          linux("hello", "insns", "2.9 M (Nanos)"), boot_hello),
         ("redis, static address, to `+PONG`", "4.5 M", million(pong["insns"]),
          linux("redis", "insns", "25 M (Nanos)"), boot_redis),
         ("… of these firmware, kernel and network", "250,000", thousand(beyond_redis(pong)),
          "–", boot_redis),
         ("… more with DHCP", "40,000", thousand(redis["DHCP"]), "–", boot_redis),
         ("growth from 64 MB to 8 GB of RAM, hello", "below 1 %", f"{hello['growth %']} %", "–",
          boot_hello),
         ("growth from 1 to 8 CPUs", "below 5 %", "one CPU so far", "–", ""),
         ("device accesses, hello to power-off", "30", hello["device accesses"]["total"],
          linux("hello", "device_accesses"), boot_hello),
         ("device accesses, redis to `+PONG`", "150", redis["device accesses"]["total"],
          linux("redis", "device_accesses"), boot_redis),
         ("wall clock of QEMU, hello against the null guest", "1.2", ratio(times, "oblako/hello"),
          linux_ratio("hello"), wall),
         ("redis to `+PONG` against the null guest's run", "3", ratio(times, "oblako/redis"),
          linux_ratio("redis"), wall),
         ("least RAM, hello", "1.5 MB", f"{hello['least kB'] / 1024:.2f} MB", "2 MB (Unikraft)",
          least.format("hello")),
         ("least RAM, redis with 1,000 keys", "6 MB", f"{redis['least kB'] / 1024:.2f} MB",
          "7 MB (Unikraft, as published)", least.format("redis")),
         ("image, hello", "32 kB", f"{hello['image bytes'] / 1000:.1f} kB", "247 kB (Unikraft)",
          "`make image APP=hello`"),
         ("image, redis", "2.0 MB", f"{redis['image bytes'] / 1e6:.2f} MB",
          "1.1 MB (Unikraft, as published)", "`make image APP=redis`"),
         ("variation of hello's count", "0", hello["variation"], "–", boot_hello)])


def stage_table(stages):
    sums = {k: sum(s[k] for s in stages) for k in count.STAGE_FIGURES}
    rows = [(f"`{s['stage']}`", *(thousand(s[k]) for k in count.STAGE_FIGURES)) for s in stages]
    return table(("reached", "instructions", "`rep` repeats", "device accesses", "page faults",
                  "pages first touched"),
                 [*rows, ("**sum**", *(f"**{sums[k]:,}**" for k in count.STAGE_FIGURES))])


def estimate(stages, accesses, with_firmware):
    """(instructions, exits, first touches) in microseconds."""
    counted = stages if with_firmware else stages[1:]
    devices = accesses["devices"]
    in_kernel = sum(n for name, n in devices.items() if name in IN_KERNEL_DEVICES)
    to_monitor = accesses["total"] - in_kernel + (accesses["firmware"] if with_firmware else 0)
    return (sum(s["insns"] for s in counted) * NS_PER_INSTRUCTION / 1000,
            to_monitor * US_PER_EXIT_TO_MONITOR + in_kernel * US_PER_EXIT_IN_KERNEL,
            sum(s["pages"] for s in counted) * US_PER_FIRST_TOUCH)


def estimates(figures):
    rows = []
    for monitor, with_firmware in (("QEMU microvm (qboot)", True), ("Firecracker (no firmware)", False)):
        for name in APPS:
            parts = estimate(figures[name]["stages"], figures[name]["device accesses"], with_firmware)
            rows.append((monitor, name, *(f"{p:,.0f} µs" for p in parts), f"**{sum(parts):,.0f} µs**"))
    return table(("", "", "instructions", "exits", "first touches", "guest alone"), rows)


def wall_table(times):
    rows = [(f"`{name}`", *(f"{f[key]:,.1f}" if key.endswith("_ms") and key in f else
                            thousand(round(f[key])) if key in f else ""
                            for key, _ in bench_boot.COLUMNS)) for name, f in times.items()]
    return table(("median", *(title for _, title in bench_boot.COLUMNS)), rows)


def spoken(a):
    beside = f", over {a.linux_repetitions} here" if a.linux != "none" else ""
    return f"Medians, over {a.repetitions} repetitions in the table above{beside}.\n\n"


def replace(text, name, content):
    marked = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marked.search(text):
        sys.exit(f"{DOCUMENT}: no place for {name}")
    return marked.sub(lambda m: m[1] + content + "\n" + m[2], text)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--repetitions", type=int, default=50)
    p.add_argument("--linux-repetitions", type=int, default=5)
    p.add_argument("--linux", default=",".join(bench_boot.LINUX))
    a = p.parse_args()
    figures = count_all()
    times = beside = bench_boot.run(APPS, "none", None, a.repetitions, "tcg", REPORT)
    if a.linux != "none":
        beside = bench_boot.run(APPS, a.linux, None, a.linux_repetitions, "tcg", REPORT)
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, content in (("targets", targets(figures, times, beside)), ("times", spoken(a) + wall_table(beside)),
                          ("hello", stage_table(figures["hello"]["stages"])),
                          ("redis", stage_table(figures["redis"]["stages"])),
                          ("estimates", estimates(figures))):
        text = replace(text, name, content)
    DOCUMENT.write_text(text, encoding="utf-8")
    boot_picture.draw({name: figures[name]["stages"] for name in APPS}, PICTURE)
    print(f"{DOCUMENT} and {PICTURE.name} are up to date")


if __name__ == "__main__":
    main()
