#!/usr/bin/python3
"""redis's own test suite in external mode: against an image, and natively for the reference.

  redis_suite.py native                       runs natively, writes redis_suite_reference.txt
  redis_suite.py vm [UNIT...]                 runs against the image, names what differs

One runtest per unit and one server for many, so that a unit which kills its server costs the others
nothing. The native server is the same source, built with glibc and MALLOC=libc, with the image's
redis.conf and arguments.
"""

import collections
import concurrent.futures
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

import memory_expressions  # noqa: E402
from tests.system.guest import Guest  # noqa: E402
from vmkit import netns, vm  # noqa: E402
from vmkit.resp import Redis  # noqa: E402

HERE = Path(__file__).resolve().parent
REFERENCE = HERE / "redis_suite_reference.txt"
EXCEPTIONS = HERE / "redis_suite_exceptions.txt"
OPTIONS = ["--durable", "--tags", "-slow"]
MEMORY = 1024  # MB
ARGUMENTS = "--enable-debug-command yes --enable-protected-configs yes --enable-module-command yes"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CASE = re.compile(r"^\[(ok|err|exception)\]: (.*?)(?: \(\d+ ms\))?$")


def fetch():
    done = subprocess.run([ROOT / "scripts" / "fetch.sh", "redis"], stdout=subprocess.PIPE,
                          text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def workplace():
    """A folder from which runtest works: redis's tests, and its tools as Debian packages them."""
    with tempfile.TemporaryDirectory(prefix="oblako-suite-") as folder:
        place = Path(folder)
        source = fetch()
        shutil.copytree(source / "tests", place / "tests")
        shutil.copy(source / "runtest", place)
        (place / "src").mkdir()
        for tool in ("redis-cli", "redis-benchmark"):
            os.symlink(shutil.which(tool), place / "src" / tool)
        yield place


def leave_out_append_only_blocks(place):
    """Blocks of cases that begin by turning on the append-only file: without fork that is an error
    outside any case, which would end the whole unit. Their cases stand among the exceptions."""
    for file in (place / "tests" / "unit").rglob("*.tcl"):
        text = file.read_text(errors="surrogateescape")
        changed = re.sub(r'(start_server \{tags \{"stream needs:debug)("\} overrides \{appendonly yes)',
                         r"\1 external:skip\2", text)
        if changed != text:
            file.write_text(changed, errors="surrogateescape")


def all_units(place):
    text = (place / "tests" / "test_helper.tcl").read_text()
    return re.search(r"set ::all_tests \{([^}]*)\}", text)[1].split()


def run_unit(place, unit, server, timeout, skip):
    """({case: "ok" | "err" | "exception"}, the log) of one unit, without the cases to skip."""
    command = ["./runtest", "--host", server.address[0], "--port", str(server.address[1]),
               *OPTIONS, "--single", unit]
    for case in skip:
        command += ["--skiptest", case]
    with server.inside(), tempfile.TemporaryFile() as output:
        runtest = subprocess.Popen(command, cwd=place, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        deadline = time.monotonic() + timeout
        while runtest.poll() is None:
            if time.monotonic() > deadline or not server.runs():
                # Nobody resets the connections of a machine that is gone: runtest would wait.
                time.sleep(1)
                os.killpg(runtest.pid, 9)
                runtest.wait()
                output.write(b"\n[exception]: cut short\n")
            time.sleep(0.05)
        output.seek(0)
        log = COLOUR.sub("", output.read().decode(errors="replace"))
    cases = {}
    for line in log.splitlines():
        match = CASE.match(line)
        if match:
            name = match[2].split(" in tests/")[0] if match[1] != "ok" else match[2]
            worse = cases.get(name) in ("err", "exception")
            cases[name] = cases[name] if worse else match[1]
    return cases, log


class NativeServer:
    """The same redis on this host, in a network namespace of its own."""

    def __init__(self, namespace):
        self.namespace, self.address = namespace, ("127.0.0.1", 6379)
        self.folder = tempfile.mkdtemp(prefix="oblako-native-")
        shutil.copytree(fetch(), self.folder, dirs_exist_ok=True)
        subprocess.run(["make", "-C", "src", "MALLOC=libc", "USE_SYSTEMD=no", "BUILD_TLS=no",
                        "OPTIMIZATION=-O2", "redis-server"], cwd=self.folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        data = Path(self.folder) / "data"
        data.mkdir()
        settings = Path(self.folder) / "redis.conf"
        settings.write_text(memory_expressions.expanded(
            (ROOT / "apps/redis/root/etc/redis.conf").read_text(), MEMORY << 20))
        with self.namespace.entered():
            self.process = subprocess.Popen(
                [f"{self.folder}/src/redis-server", settings, "--dir", data, *ARGUMENTS.split()],
                stdout=subprocess.DEVNULL)
        time.sleep(1)

    def inside(self):
        return self.namespace.entered()

    def runs(self):
        return self.process.poll() is None

    alive = runs

    def last_words(self):
        return ""

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


class VmServer:
    """The image. Some cases give it a time of the host's clock in milliseconds and expect that it
    lies not further ahead than just now; without kvmclock a guest lags by what QEMU took to start,
    so here it gets a clock that is ahead by more than that."""

    def __init__(self, namespace):
        self.guest = Guest(vm.App("redis"), network=namespace, memory=MEMORY, args=ARGUMENTS,
                           options="clock=%.6f" % (time.time() + 0.5), limit=6 * 3600)
        self.guest.wait_redis()
        self.address, self.inside, self.stop = self.guest.address, self.guest.inside, self.guest.kill

    def runs(self):
        return self.guest.qemu.poll() is None

    def last_words(self):
        return "\n".join(self.guest.named_console().splitlines()[-50:])

    def alive(self):
        """Does it still answer?"""
        try:
            with self.inside(), Redis.connect(self.address, 10) as redis:
                return redis.call("PING") == "PONG"
        except OSError:
            return False


def next_of(units):
    with contextlib.suppress(IndexError):  # another lane was faster
        return units.popleft()


def run_lane(make_server, place, units, unit_timeout, skip, report):
    """Takes units, as long as there are any, for a server of its own; {unit: {case: outcome}}."""
    outcomes = {}
    with netns.Namespace() as namespace:
        server = make_server(namespace)
        try:
            while unit := next_of(units):
                if not server.alive():
                    server.stop()
                    server = make_server(namespace)
                started = time.monotonic()
                cases, log = run_unit(place, unit, server, unit_timeout, skip.get(unit, ()))
                if not server.alive():
                    cases["the server lives on"] = "exception"
                    log += server.last_words()
                outcomes[unit] = cases
                report(unit, cases, time.monotonic() - started, log)
        finally:
            server.stop()
    return outcomes


def run(make_server, units=None, unit_timeout=900, skip=None, report=lambda unit, cases, seconds, log: None,
        lanes=1):
    """{unit: {case: outcome}}. `lanes` is how many servers there are at a time."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(workplace()) for _ in range(lanes)]
        if make_server is VmServer:
            for place in places:
                leave_out_append_only_blocks(place)
        left = collections.deque(units or all_units(places[0]))
        with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
            running = [pool.submit(run_lane, make_server, place, left, unit_timeout, skip or {}, report)
                       for place in places]
        outcomes = {}
        for lane in running:
            outcomes |= lane.result()
    return outcomes


def read_list(path):
    """{unit: {case: text behind a tab}} from `[unit]` lines and case lines."""
    units, current = {}, None
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("[") and line.endswith("]"):
            current = units.setdefault(line[1:-1], {})
        else:
            case, _, reason = line.partition("\t")
            current[case] = reason.strip()
    return units


def differences(outcomes):
    """Cases of the reference that did not pass here and are not excepted: [(unit, case, outcome)]."""
    reference, excepted = read_list(REFERENCE), read_list(EXCEPTIONS)
    found = []
    for unit, cases in outcomes.items():
        for case in reference.get(unit, {}):
            if cases.get(case) != "ok" and case not in excepted.get(unit, {}):
                found.append((unit, case, cases.get(case, "not reached")))
        if cases.get("the server lives on"):
            found.append((unit, "the server lives on", "it died"))
    return found


def write_reference(first, second):
    """What passes in two runs: a few cases have random numbers in their names."""
    lines = ["# Cases of redis 7.0.15's own suite that pass natively in external mode.",
             "# Made by: tests/system/redis_suite.py native, which runs for every unit",
             f"#   ./runtest --host 127.0.0.1 --port 6379 {' '.join(OPTIONS)} --single UNIT",
             "# against redis-server built from the same source with MALLOC=libc, started with",
             f"#   redis-server apps/redis/root/etc/redis.conf {ARGUMENTS}"]
    for unit in first:
        passed = [c for c, o in first[unit].items()
                  if o == "ok" and second[unit].get(c) == "ok"]
        if passed:
            lines += ["", f"[{unit}]", *passed]
    REFERENCE.write_text("\n".join(lines) + "\n")


def progress(unit, cases, seconds, log):
    bad = {c: o for c, o in cases.items() if o != "ok"}
    print(f"{seconds:7.1f} s  {unit}: {len(cases) - len(bad)} ok, {len(bad)} not", flush=True)
    for case, outcome in bad.items():
        print(f"      {outcome}: {case}")
    if "the server lives on" in bad:
        print("\n".join("      | " + line for line in log.splitlines()[-40:]))
    if folder := os.environ.get("OBLAKO_SUITE_LOGS"):
        (Path(folder) / (unit.replace("/", "-") + ".log")).write_text(log)


def main():
    if sys.argv[1:2] == ["native"]:
        write_reference(*(run(NativeServer, report=progress) for _ in range(2)))
    elif sys.argv[1:2] == ["vm"]:
        found = differences(run(VmServer, sys.argv[2:], skip=read_list(EXCEPTIONS), report=progress))
        for unit, case, outcome in found:
            print(f"differs: {unit}: {case}: {outcome}")
        sys.exit(1 if found else 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
