#!/usr/bin/env python3
"""Boots the guest tests (build/guest, made by the target guest_tests) and sums up their TAP.

  tests/run_guest.py [NAME...] [-v]

A test is tests/guest/NAME.c or .cc. Its first five lines may say `// net` (a user network),
`// args: …` (for main), `// mem: MB`, `// cpu: MODEL`, `// rng`, `// machine: …`, `// options: …`
(for the kernel), `// limit: SECONDS` and `// expect: STATUS` (instead of 0).
"""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmkit import vm  # noqa: E402
from vmkit.symbols import Symbols  # noqa: E402
from vmkit.user_network import slirp  # noqa: E402

LIMIT = 60  # seconds a test may take unless it says otherwise


def headers(source):
    found = {}
    with source.open() as f:
        for _, line in zip(range(5), f):
            match = re.match(r"// (net|args|mem|cpu|rng|machine|options|limit|expect)\b:?\s*(.*)", line)
            if match:
                found[match[1]] = match[2].strip() or True
    return found


class Outcome:
    """What TAP on the console says: every planned case must have reported."""

    def __init__(self):
        self.passed, self.skipped, self.failed = 0, 0, []

    def read_tap(self, console):
        plan = None
        seen = 0
        for line in console.splitlines():
            line = line.strip()
            if match := re.match(r"1\.\.(\d+)(?:\s*#\s*skip\b.*)?$", line, re.IGNORECASE):
                plan = int(match[1])
            elif match := re.match(r"(not )?ok\b(.*)", line):
                seen += 1
                if match[1]:
                    self.failed.append(match[2].strip(" -") or f"case {seen}")
                elif re.search(r"#\s*skip\b", line, re.IGNORECASE):
                    self.skipped += 1
                else:
                    self.passed += 1
        if plan is None:
            self.failed.append("printed no plan (1..N)")
        elif seen != plan:
            self.failed.append(f"reported {seen} of {plan} cases")


def boot(name, wants):
    """(console, exit status or None after the time limit)"""
    app = vm.App(f"guest-{name}", ROOT / "build" / "guest")
    machine = wants.get("machine", "microvm")
    command = vm.qemu_command(
        app.image, machine=machine, accel=vm.accelerator()[0],
        memory=int(wants.get("mem", app.memory)), cpu=wants.get("cpu"),
        netdev=slirp() if "net" in wants else None, rng="rng" in wants,
        append=vm.command_line(str(wants.get("options", "")).split(), wants.get("args", "")))
    qemu = vm.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(float(wants.get("limit", LIMIT)), qemu.kill)
    timer.start()
    try:
        console = qemu.stdout.read()
        code = qemu.wait()
    finally:
        timer.cancel()
        if qemu.poll() is None:
            qemu.kill()
    return console, app, None if code == -9 else vm.exit_status(code, machine)


def run(name, source, verbose):
    wants = headers(source)
    outcome = Outcome()
    started = time.monotonic()
    try:
        console, app, status = boot(name, wants)
    except FileNotFoundError as error:
        outcome.failed.append(str(error))
        print(f"guest {name}: FAILED: {error}")
        return outcome
    text = console.decode(errors="replace")
    outcome.read_tap(text)
    expected = int(wants.get("expect", 0))
    if status is None:
        outcome.failed.append("ran into its time limit")
    elif status != expected and not (status == 1 and outcome.failed):
        outcome.failed.append(f"ended with status {status}, not {expected}")
    word = "FAILED" if outcome.failed else "ok"
    skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
    print(f"guest {name}: {word}, {outcome.passed} passed{skipped}, "
          f"{time.monotonic() - started:.1f} s", flush=True)
    for failure in outcome.failed:
        print(f"    {failure}")
    if outcome.failed or verbose:
        symbols = Symbols(app.symbols)
        for line in console.splitlines()[-60:]:
            print("    |", (line + symbols.annotate(line)).decode(errors="replace"))
        symbols.close()
    return outcome


def run_tests(names=(), verbose=False):
    """(passed, failed, skipped) of these tests, or all."""
    sources = {f.stem: f for f in sorted((ROOT / "tests" / "guest").glob("*.c*"))}
    unknown = [n for n in names if n not in sources]
    if unknown:
        sys.exit(f"no such guest test: {' '.join(unknown)}")
    outcomes = [run(name, sources[name], verbose) for name in (names or sources)]
    return (sum(o.passed for o in outcomes), sum(len(o.failed) for o in outcomes),
            sum(o.skipped for o in outcomes))


def main():
    words = [w for w in sys.argv[1:] if w != "-v"]
    build = subprocess.run(["cmake", "--build", ROOT / "build" / "cmake", "--target"]
                           + ([f"image-guest-{w}" for w in words] or ["guest_tests"]),
                           stdout=subprocess.PIPE, text=True)
    if build.returncode:
        sys.exit(build.stdout[-4000:])
    passed, failed, skipped = run_tests(words, "-v" in sys.argv)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
