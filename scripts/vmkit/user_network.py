"""The network that needs no rights: ports of this host, on the loopback only, lead to the guest.

passt does it where it can; where it cannot (not installed, no interface with a default route), QEMU's
own user network does. That one takes one new connection at a time: under load, clients wait for
seconds. Both give the guest an address by DHCP and reach this host's loopback at 10.0.2.2.
"""

import asyncio
import re
import shutil
import socket
import subprocess
import threading
from typing import NamedTuple

GUEST, GATEWAY, PREFIX = "10.0.2.15", "10.0.2.2", "24"
LOOPBACK = ("127.0.0.1", "::1")
START_LIMIT = 10  # seconds; passt takes some hundredths of one


class Forward(NamedTuple):
    host: int
    guest: int
    protocol: str = "tcp"


def parse_ports(text, guest_port):
    """`8080`, `8080:80`, `5353:53/udp`, or several with commas, as Forwards. A port alone stands for
    the application's own. ValueError with one line for the user."""
    forwards = []
    for word in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?::(\d+))?(?:/(tcp|udp))?\s*", word)
        if not match:
            raise ValueError(f"{word!r} is no port: write HOST, HOST:GUEST or HOST:GUEST/udp")
        guest = match[2] or guest_port
        if not guest:
            raise ValueError(f"{word!r}: the application has no port of its own; write HOST:GUEST")
        forward = Forward(int(match[1]), int(guest), match[3] or "tcp")
        if not (0 < forward.host < 65536 and 0 < forward.guest < 65536):
            raise ValueError(f"{word!r}: ports are from 1 to 65535")
        if any((f.host, f.protocol) == (forward.host, forward.protocol) for f in forwards):
            raise ValueError(f"port {forward.host} of this host is there twice")
        forwards.append(forward)
    return forwards


def check_free(forwards):
    """ValueError if a port of this host is in use or not ours to use."""
    for forward in forwards:
        kind = socket.SOCK_DGRAM if forward.protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as s:
            if kind == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((LOOPBACK[0], forward.host))
            except OSError as error:
                raise ValueError(f"port {forward.host} cannot be used ({error.strerror}): "
                                 "choose another with PORT=") from None


def slirp(forwards=()):
    """QEMU's own network, as the value of -netdev."""
    return "user,id=net0" + "".join(
        f",hostfwd={f.protocol}:{LOOPBACK[0]}:{f.host}-:{f.guest}" for f in forwards)


class UserNetwork:
    """`netdev` is for QEMU's command line. `files` are the descriptors that QEMU inherits; close()
    closes ours. `why` says why it is QEMU's own network, or is None."""

    def __init__(self, forwards=(), kind=None):
        """kind: "passt" or "slirp" (QEMU's own); by default passt, else slirp."""
        self.files = ()
        self.why = None
        self._ours = None
        self._relays = []
        if kind != "slirp":
            self.why = self._start_passt(forwards)
            if self.why and kind == "passt":
                raise OSError(f"passt: {self.why}")
        if not self.files:
            self.netdev = slirp(forwards)
        # Our own relay serves ::1 where neither of the two listens there.
        if not self._both_families:
            self._relays = [r for r in (LoopbackRelay.start(f.host) for f in forwards
                                        if f.protocol == "tcp") if r]

    _both_families = False

    def _start_passt(self, forwards):
        """Returns why not, or None."""
        if not shutil.which("passt"):
            return "passt is not installed; scripts/setup.sh does it"
        # Older versions know one address for a port only.
        for addresses in (LOOPBACK, LOOPBACK[:1]):
            why = self._try_passt(forwards, addresses)
            if not why:
                self._both_families = len(addresses) == 2
                return None
        return why

    def _try_passt(self, forwards, addresses):
        ours, passts = socket.socketpair()
        command = ["passt", "--quiet", "--one-off", "--fd", str(passts.fileno()), "--mtu", "1500",
                   "--address", GUEST, "--netmask", PREFIX, "--gateway", GATEWAY]
        for protocol, option in (("tcp", "--tcp-ports"), ("udp", "--udp-ports")):
            ports = [f"{a}/{f.host}:{f.guest}" for f in forwards if f.protocol == protocol
                     for a in addresses]
            for port in ports or ["none"]:
                command += [option, port]
        with passts:
            try:
                # passt goes into the background when it is ready, and ends with the other side.
                done = subprocess.run(command, pass_fds=[passts.fileno()], text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, timeout=START_LIMIT)
                why = None if done.returncode == 0 else last_complaint(done.stderr)
            except (OSError, subprocess.TimeoutExpired) as error:
                why = str(error)
        if why:
            ours.close()
            return why
        self._ours = ours
        self.files = (ours.fileno(),)
        self.netdev = f"stream,id=net0,server=off,addr.type=fd,addr.str={ours.fileno()}"
        return None

    def started(self):
        """QEMU runs and has its copy; with ours open, passt would not see its end."""
        if self._ours:
            self._ours.close()
            self._ours = None

    def close(self):
        self.started()
        for relay in self._relays:
            relay.stop()
        self._relays = []


def last_complaint(stderr):
    """Why passt failed. What it could not send to a system log is no reason."""
    lines = [line for line in stderr.splitlines() if line and "syslog" not in line]
    if lines and "interface not usable" in lines[-1]:
        return "passt finds no interface with a default route here"
    return lines[-1] if lines else "it failed without a message"


class LoopbackRelay:
    """Connections to [::1]:PORT go on to 127.0.0.1:PORT. A thread of its own with an event loop."""

    @classmethod
    def start(cls, port):
        """None where this host has no IPv6 or the port is taken there."""
        try:
            listener = socket.create_server((LOOPBACK[1], port), family=socket.AF_INET6)
        except OSError:
            return None
        return cls(listener, port)

    def __init__(self, listener, port):
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(asyncio.start_server(self._relay, sock=listener))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _relay(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK[0], self._port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        writer.close()
        far_writer.close()


async def copy(reader, writer):
    """One direction, to its end; a broken connection breaks the other one too."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
