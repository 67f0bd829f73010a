"""A bad network between the host and the guest: tests/tools/relay between two tap devices."""

import ctypes
import json
import select
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "build" / "tools" / "relay"
GUEST_TAP = "tap1"  # the virtual machine monitor's; the host's addresses are on tap0

PR_SET_PDEATHSIG = 1


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

    def stop(self):
        """What it did: {"to_guest": {"packets": …, "dropped": …}, "to_client": …}."""
        self._process.terminate()
        return json.loads(self._process.communicate(timeout=30)[0])

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
