"""iperf 2 as a load: the server in a guest, the client outside. For bench_net.py."""

import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import count
from tests.system.guest import GUEST
from vmkit import netns

ROOT = Path(__file__).resolve().parent.parent
PORT = 5001
# As the guest sees them: the client's arguments.
WAYS = {"received": [], "sent": ["-R"]}


def linux_program(out):
    """A static iperf for Linux, from the source of our image."""
    source = Path(subprocess.run([ROOT / "scripts" / "fetch.sh", "iperf"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.split()[-1])
    program = out / f"linux-{source.name}"
    if program.exists():
        return program
    with tempfile.TemporaryDirectory(prefix="oblako-iperf-") as folder:
        copy = Path(folder) / "source"
        shutil.copytree(source, copy)
        (copy / "src" / "service.c").touch()  # see apps/iperf/recipe.cmake
        for command in (["./configure", "CFLAGS=-O2", "CXXFLAGS=-O2", "LDFLAGS=-static"], ["make"]):
            done = subprocess.run(command, cwd=copy, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode:
                raise RuntimeError(f"iperf for Linux: {command[0]} failed\n{done.stdout[-2000:]}")
        shutil.copy(copy / "src" / "iperf", program)
    return program


def client(guest, *arguments, timeout=120):
    """Runs the client, once more where the server has only announced itself; its report."""
    deadline = time.monotonic() + 20
    while True:
        report = guest.run("iperf", "-c", GUEST, "-f", "m", *arguments, timeout=timeout)
        found = re.findall(r" sec +([\d.]+) MBytes +([\d.]+) Mbits/sec", report)
        if found:
            return float(found[-1][0]), float(found[-1][1])
        if time.monotonic() > deadline:
            raise RuntimeError(report)
        time.sleep(0.2)


def wait_listening(guest):
    guest.wait_console("Server listening on TCP port")


def octets_per_kilo(app, **how):
    """Octets for a thousand guest instructions each way, iterations of `rep` string instructions apart:
    the difference between long and short transfers, the median of five each."""
    short, long = 16, 80
    with netns.Namespace() as namespace:
        guest = count.CountedGuest(app, network=namespace, limit=600, **how)
        try:
            wait_listening(guest)

            def run(megabytes, way):
                before = guest.count()["insns"]
                moved, _ = client(guest, "-n", f"{megabytes}M", *way)
                if round(moved) != megabytes:
                    raise RuntimeError(f"{moved} of {megabytes} MB")
                return guest.count()["insns"] - before

            figures = {}
            for name, way in WAYS.items():
                run(short, way)  # warm
                costs = {n: statistics.median(run(n, way) for _ in range(5))
                         for n in (short, long)}
                figures[name] = ((long - short) << 20) / ((costs[long] - costs[short]) / 1000)
            return figures
        finally:
            guest.kill()


def rate(guest, way, seconds):
    """Mbit/s."""
    return client(guest, "-t", str(seconds), *way)[1]
