"""A bad network between the host and the guest: tests/tools/relay between two tap devices."""

import ctypes
import hashlib
import json
import random
import select
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "build" / "tools" / "relay"
GUEST_TAP = "tap1"  # the virtual machine monitor's; the host's addresses are on tap0

PR_SET_PDEATHSIG = 1

MB = 1 << 20
# name: (faults, what the relay counts, bytes of the bulk value: short, full)
NETWORKS = {
    "clean": ("", None, 4 * MB, 64 * MB),
    "1 % loss": ("drop=0.01", "dropped", 2 * MB, 32 * MB),
    "5 % loss": ("drop=0.05", "dropped", MB // 2, 8 * MB),
    "reordering": ("reorder=0.02", "reordered", 2 * MB, 32 * MB),
    "duplication": ("duplicate=0.02", "duplicated", 2 * MB, 32 * MB),
    "bit flips": ("flip=0.01", "flipped", 2 * MB, 32 * MB),
    "50 ms delay": ("delay=25", None, 2 * MB, 16 * MB),
    "200 kB/s": ("rate=200000", None, MB // 4, 4 * MB),
    "all": ("drop=0.005 reorder=0.01 duplicate=0.01 flip=0.005 delay=5", "dropped", MB, 16 * MB),
}


class Relay:
    """`faults` as the program takes them: "drop=0.01 to-guest:delay=50". Made inside the namespace
    that has tap0 already; the machine then uses GUEST_TAP."""

    def __init__(self, namespace, faults):
        if not PROGRAM.exists():
            raise FileNotFoundError(f"{PROGRAM} is not there: "
                                    "cmake --build build/cmake --target test_tools")
        namespace.add_tap(GUEST_TAP)
        # The host's stack sees the guest's frames here too, and would answer its ARP.
        namespace.run("ip", "link", "set", GUEST_TAP, "arp", "off")
        for tap in ("tap0", GUEST_TAP):
            # What waits for a program to take it; beyond, the kernel drops silently.
            namespace.run("ip", "link", "set", tap, "txqueuelen", "10000")
        self._process = subprocess.Popen(
            [PROGRAM, "tap0", GUEST_TAP, *faults.split()], stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        if not select.select([self._process.stdout], [], [], 30)[0] or \
                self._process.stdout.readline() != "relay: ready\n":
            self._process.kill()
            raise RuntimeError(f"the relay does not start with {faults!r}")

    def renew(self):
        """What it did until now, as stop() says it; it begins anew with the next seed."""
        self._process.send_signal(signal.SIGUSR1)
        return json.loads(self._process.stdout.readline())

    def stop(self):
        """What it did: {"to_guest": {"packets": …, "dropped": …}, "to_client": …}."""
        self._process.terminate()
        return json.loads(self._process.communicate(timeout=30)[0])

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def transfer(redis, size, seed):
    """A value of that size there and back; (seconds to write, seconds to read)."""
    value = random.Random(seed).randbytes(size)
    start = time.monotonic()
    redis.socket.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nbulk\r\n$%d\r\n%s\r\n" % (size, value))
    assert redis.read() == "OK"
    written = time.monotonic()
    redis.send("GET", "bulk")
    back = redis.read_raw()
    read = time.monotonic()
    assert hashlib.sha256(back).digest() == hashlib.sha256(value).digest(), "damaged on the way"
    return written - start, read - written
