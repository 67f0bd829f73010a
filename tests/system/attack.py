"""What tests of attacks share: a guest with both families on a tap device, its free memory read from
outside, a good client whose waiting is measured, and frames sent at a fixed rate.

Waiting is the guest's alone: what this host kept QEMU or the client from running (schedstat) is taken
off, so that a busy host does not fail a test. Where the host does not tell, nothing is taken off."""

import contextlib
import json
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from tests.system import attack_frames
from tests.system.attack_frames import GUEST6, HOST6, Target
from tests.system.guest import GUEST, HOST, MAC, PREFIX
from vmkit import netns

KERNEL_BASE = 0xFFFFFFFFC0000000  # where the kernel's image lies above its load address
AT_ONCE = 20_000  # frames/s: more than a guest without virtualisation takes
RATE = 3000  # hostile frames a second
LONGEST_WAIT = 0.9  # seconds: a lost SYN would be one
MOST_LOST = 0.02  # of memory, after an attack
FLOOD = Path(__file__).resolve().parents[2] / "build" / "tools" / "flood"
ASK = {"redis": (b"PING\r\n", b"+PONG"), "httpd": (b"GET / HTTP/1.1\r\nHost: g\r\n\r\n", b"HTTP/1.1 200")}


def network():
    """A namespace with the tap device and an address of both families on it."""
    namespace = netns.Namespace()
    with namespace.entered():
        namespace.add_tap("tap0")
        namespace.with_ipv6("tap0")
        for command in (f"ip addr add {HOST}/{PREFIX} dev tap0",
                        f"ip -6 addr add {HOST6}/64 dev tap0 nodad",
                        f"ip neigh replace {GUEST} lladdr {MAC} nud permanent dev tap0",
                        f"ip -6 neigh replace {GUEST6} lladdr {MAC} nud permanent dev tap0"):
            namespace.run(*command.split())
    return namespace


class Machine:
    """An application under attack. `boot` is the fixture."""

    def __init__(self, boot, namespace, app, memory):
        self.folder = tempfile.TemporaryDirectory()
        monitor = f"{self.folder.name}/qmp"
        self.app, self.bytes = app, memory << 20
        self.guest = boot(app, namespace, memory=memory, limit=3600,
                          options=f"ip6={GUEST6}/64 gw6={HOST6}",
                          extra=("-qmp", f"unix:{monitor},server=on,wait=off"))
        self.port = {"redis": 6379, "httpd": 80}[app]
        self.guest.address = (GUEST, self.port)
        self.guest.wait_console("Ready to accept" if app == "redis" else "serving")
        self.qmp = socket.socket(socket.AF_UNIX)
        self.qmp.connect(monitor)
        self.answers = self.qmp.makefile()
        self.answers.readline()
        self.monitor("qmp_capabilities")
        listing = subprocess.run(["nm", "-C", self.guest.app.symbols], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
        self.counters = next(int(line.split()[0], 16) for line in listing.splitlines()
                             if line.endswith(" oblako::mem::frame_counts")) - KERNEL_BASE

    def monitor(self, command, **arguments):
        self.qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            line = self.answers.readline()
            assert line, f"the machine has ended:\n{self.guest.tail()}"
            answer = json.loads(line)
            if "return" in answer or "error" in answer:
                return answer.get("return")

    def free_memory(self):
        """Bytes in free page frames: core/mem/frames.hh, frame_counters {total, free}."""
        words = self.monitor("human-monitor-command", **{"command-line": f"xp /2gx {self.counters:#x}"})
        return int(words.split(":")[1].split()[1], 16) * 4096

    def host_delay(self):
        """Seconds that threads of QEMU and the calling one waited for a processor of this host."""
        total = 0
        with contextlib.suppress(OSError, IndexError):
            ours = Path(f"/proc/self/task/{threading.get_native_id()}")
            for task in (ours, *Path(f"/proc/{self.guest.qemu.pid}/task").iterdir()):
                total += int((task / "schedstat").read_text().split()[1])
        return total / 1e9

    def connect(self, address=None, timeout=10):
        with self.guest.inside():
            s = socket.create_connection(address or self.guest.address, timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def ask(self, s):
        question, answer = ASK[self.app]
        s.sendall(question)
        data = s.recv(65536)
        assert data.startswith(answer), f"answered {data[:80]!r}"

    def memory_returns(self, before, patience=20):
        """Waits until free memory is what it was, within 2 %; what is missing, in bytes."""
        deadline = time.monotonic() + patience
        while True:
            lost = before - self.free_memory()
            if lost <= MOST_LOST * self.bytes or time.monotonic() > deadline:
                return lost
            time.sleep(0.2)

    def close(self):
        self.qmp.close()
        self.folder.cleanup()


class GoodClient(threading.Thread):
    """Asks again and again over a connection of each family that it keeps, and, with `comes`, over a
    new one each time. `worst` is the longest wait, `failures` what went wrong."""

    def __init__(self, machine, comes=True, families=("kept", "kept6")):
        super().__init__(daemon=True)
        self.machine, self.comes = machine, comes
        addresses = {"kept": (GUEST, machine.port), "kept6": (GUEST6, machine.port)}
        self.kept = {name: machine.connect(addresses[name]) for name in families}
        for s in self.kept.values():
            machine.ask(s)
        self.worst, self.asked, self.failures = {}, 0, []
        self.enough = threading.Event()
        self.start()

    def target(self):
        ports = [s.getsockname()[1] for s in self.kept.values()]
        return Target(self.machine.port, ports[0], ports[-1])

    def measure(self, name, action):
        held, begin = self.machine.host_delay(), time.monotonic()
        try:
            action()
        except (OSError, AssertionError) as error:
            self.failures.append(f"{name}: {error!r}")
        waited = time.monotonic() - begin
        if waited > 0.1:  # reading what the host did costs more than most answers
            waited -= min(waited, self.machine.host_delay() - held)
        self.worst[name] = max(self.worst.get(name, 0), waited)
        self.asked += 1

    def come(self):
        with self.machine.connect() as s:
            self.machine.ask(s)

    def run(self):
        while not self.enough.wait(0.02) and not self.failures:
            for name, s in self.kept.items():
                self.measure(name, lambda: self.machine.ask(s))
            if self.comes:
                self.measure("new", self.come)

    def stop(self):
        self.enough.set()
        self.join()
        for s in self.kept.values():
            s.close()

    def check(self, what):
        assert not self.failures, f"{what}: {self.failures[:3]}"
        assert self.asked, f"{what}: nothing was asked"
        slow = {name: round(w, 3) for name, w in self.worst.items() if w > LONGEST_WAIT}
        assert not slow, f"{what}: a good client waited (seconds): {slow}"


def flood(machine, frames, seconds, rate=RATE):
    """Sends the frames in turn at the rate; how many were sent."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(struct.pack("<H", len(f)) + f for f in frames))
        file.flush()
        with machine.guest.inside():
            done = subprocess.run([FLOOD, "tap0", file.name, str(rate), str(seconds)], check=True,
                                  stdout=subprocess.PIPE, text=True, timeout=seconds + 60)
    return int(done.stdout)


def warm_up(machine):
    """The receive ring gets its full length and tables are made, before memory is compared. The ring
    grows where more frames come at once than half of it (drivers/virtio/net_receive.cc), and an
    attack may be the first to do so: 1.7 MB that stay."""
    client = GoodClient(machine)
    flood(machine, attack_frames.build("syn_far", client.target()), 1)
    flood(machine, attack_frames.build("closed_ports", client.target()), 0.5, rate=AT_ONCE)
    client.stop()
