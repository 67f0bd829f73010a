"""A booted image under test: its console, its network as we see it, and a hard time limit."""

import contextlib
import os
import re
import select
import socket
import subprocess
import threading
import time

from tests.system.relay import GUEST_TAP, Relay
from vmkit import kvm, netns, vm
from vmkit.resp import Redis
from vmkit.symbols import Symbols
from vmkit.user_network import Forward, slirp

HOST, GUEST, PREFIX = "172.44.0.1", "172.44.0.2", 24
STATIC = f"ip={GUEST}/{PREFIX} gw={HOST} dns={HOST}"
MAC = "52:54:00:0b:1a:c0"


class Guest:
    """One virtual machine. `network` is None, "user", or a Namespace that gets the tap device;
    `faults` (relay.py) are what that network does to packets."""

    def __init__(self, app, *, network=None, machine="microvm", memory=None, options="", args="",
                 limit=120, static=True, neighbour=True, image=None, accel=None, faults=None, **qemu):
        self.app = app
        self.machine = machine
        self.relay = None
        self.namespace = network if isinstance(network, netns.Namespace) else None
        self.address = None
        netdev = None
        if self.namespace:
            with self.inside():
                if not self._has_tap():  # a second machine after the first uses the same
                    known = {"guest": GUEST, "mac": MAC} if neighbour else {}
                    self.namespace.add_tap("tap0", f"{HOST}/{PREFIX}", **known)
                if faults is not None:
                    self.relay = Relay(self.namespace, faults)
            netdev = vm.tap_network(GUEST_TAP if self.relay else "tap0")
            self.address = (GUEST, app.port)
            if static:
                options = f"{STATIC} {options}"
        elif network == "user":
            port = free_port()
            netdev = slirp([Forward(port, app.port)] if app.port else [])
            self.address = ("127.0.0.1", port)
        command = vm.qemu_command(image or app.image, machine=machine,
                                  memory=memory or app.memory, netdev=netdev, mac=MAC,
                                  append=vm.command_line(options.split(), args),
                                  accel=vm.accelerator(accel)[0], **qemu)
        self.console = b""
        self.kvm_gave_up = False
        self._console_grew = threading.Condition()
        with self.inside():
            self.started = time.monotonic()
            self.qemu = vm.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read_console, daemon=True)
        self._reader.start()
        self.timed_out = False
        self._limit = threading.Timer(limit, self._too_long)
        self._limit.daemon = True
        self._limit.start()

    @staticmethod
    def _has_tap():
        return b"tap0:" in open("/proc/thread-self/net/dev", "rb").read()

    def _read_console(self):
        while data := os.read(self.qemu.stdout.fileno(), 65536):
            with self._console_grew:
                self.console += data
                self._console_grew.notify_all()
            if kvm.INTERNAL_ERROR in self.console and not self.kvm_gave_up:
                self.kvm_gave_up = True  # QEMU prints the registers, and then stays for ever
                threading.Timer(0.5, self.qemu.kill).start()
        with self._console_grew:
            self._console_grew.notify_all()

    def _too_long(self):
        self.timed_out = True
        self.qemu.kill()

    def add_address(self, n):
        """One more address of ours in the guest's network, the n-th; each has its own ports."""
        address = f"172.44.0.{100 + n}"
        with self.inside():
            subprocess.run(["ip", "addr", "replace", f"{address}/{PREFIX}", "dev", "tap0"],
                           check=True)
        return address

    def inside(self):
        """Sockets and commands made inside reach the guest."""
        return self.namespace.entered() if self.namespace else contextlib.nullcontext()

    # --- the console and the end ---

    @property
    def text(self):
        return self.console.decode(errors="replace")

    def wait_console(self, pattern, timeout=60):
        """Waits for a regular expression on the console; its match."""
        deadline = time.monotonic() + timeout
        with self._console_grew:
            while True:
                match = re.search(pattern, self.text)
                if match:
                    return match
                left = deadline - time.monotonic()
                if left <= 0 or self.qemu.poll() is not None and not self._reader.is_alive():
                    raise AssertionError(f"no {pattern!r} on the console:\n{self.tail()}")
                self._console_grew.wait(min(left, 0.2))

    def wait_end(self, timeout=60):
        """The exit status the guest ends with."""
        try:
            code = self.qemu.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.tail()}") from None
        self._reader.join(5)
        assert not self.timed_out, f"ran into its time limit:\n{self.tail()}"
        return vm.exit_status(code, self.machine)

    def type(self, keys):
        self.qemu.stdin.write(keys)
        self.qemu.stdin.flush()

    def interrupt(self):
        self.qemu.stdin.write(b"\x03")

    def kill(self):
        self._limit.cancel()
        if self.qemu.poll() is None:
            self.qemu.kill()
        self.qemu.wait()
        self._reader.join(5)
        if self.relay:
            self.relay.close()

    def tail(self, lines=40):
        return "\n".join(self.text.splitlines()[-lines:])

    def named_console(self):
        """The console with names in its backtraces, as `make run` shows it."""
        symbols = Symbols(self.app.symbols)
        try:
            return "\n".join((line + symbols.annotate(line)).decode(errors="replace")
                             for line in self.console.splitlines())
        finally:
            symbols.close()

    # --- reaching it ---

    def connect(self, timeout=10):
        with self.inside():
            return socket.create_connection(self.address, timeout=timeout)

    def redis(self, timeout=10):
        with self.inside():
            return Redis.connect(self.address, timeout)

    def wait_redis(self, timeout=60):
        """Seconds from the start of QEMU to a PING answered."""
        deadline = time.monotonic() + timeout
        patience = 0.2
        while True:
            try:
                with self.redis(patience) as r:
                    if r.call("PING") == "PONG":
                        return time.monotonic() - self.started
            except OSError:
                pass
            ended = self.qemu.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"redis does not answer ({'ended' if ended else 'runs'}):\n"
                                     f"{self.tail()}")
            patience = min(patience * 1.5, 3)
            time.sleep(0.01)

    def run(self, *command, timeout=120, check=True):
        """A command in the guest's network; its output."""
        with self.inside():
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
        return done.stdout

    # --- what it costs the host ---

    def cpu_seconds(self):
        fields = open(f"/proc/{self.qemu.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_share(self, seconds):
        """Part of one core that QEMU uses from now on."""
        before, then = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - then)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def drain(sock, seconds):
    """Everything that arrives on a socket within the time; b"" may also mean that it was closed."""
    deadline = time.monotonic() + seconds
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data
