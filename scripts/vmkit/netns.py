"""Network namespaces of one's own: a tap device to a virtual machine, the host's side of it, and
nothing else. Needs root and /dev/net/tun; cannot_run() says what is missing."""

import contextlib
import ctypes
import os
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def cannot_run():
    """Why a tap device in a namespace is not possible here, or None if it is."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    try:
        with Namespace() as n, n.entered():
            n.add_tap("tap0")
    except (OSError, subprocess.SubprocessError) as error:
        return f"no tap device in a namespace here: {error}"
    return None


def _check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _current():
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A namespace with only the loopback device up. It goes when nobody uses it any more."""

    def __init__(self):
        before = _current()
        try:
            _check(_libc.unshare(CLONE_NEWNET))
            self._fd = _current()
        finally:
            _check(_libc.setns(before, CLONE_NEWNET))
            os.close(before)
        with self.entered():
            self.run("ip", "link", "set", "lo", "up")
            # Tens of thousands of client connections, one after the other.
            self.sysctl("net/ipv4/ip_local_port_range", "1024 65000")
            self.sysctl("net/ipv4/tcp_tw_reuse", "1")
            self.sysctl("net/ipv6/conf/all/disable_ipv6", "1")

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def fileno(self):
        return self._fd

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextlib.contextmanager
    def entered(self):
        """Sockets and processes made inside (by this thread) belong to the namespace."""
        before = _current()
        _check(_libc.setns(self._fd, CLONE_NEWNET))
        try:
            yield self
        finally:
            _check(_libc.setns(before, CLONE_NEWNET))
            os.close(before)

    # The following are for use inside entered().

    @staticmethod
    def run(*command):
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @staticmethod
    def sysctl(name, value):
        with contextlib.suppress(OSError), open(f"/proc/sys/{name}", "w") as f:
            f.write(value)

    def with_ipv6(self, name):
        """Gives an interface a link-local address."""
        self.sysctl("net/ipv6/conf/all/disable_ipv6", "0")
        self.sysctl(f"net/ipv6/conf/{name}/accept_dad", "0")
        self.sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0")
        self.run("ip", "link", "set", name, "down")
        self.run("ip", "link", "set", name, "up")

    def add_tap(self, name, address=None, guest=None, mac=None, queue=None):
        """A tap device with the host's address on it; with `guest` and `mac` a permanent neighbour
        entry, so that a guest that is not up yet is knocked at and not asked for by ARP. `queue`:
        packets that may wait for the guest (1,000); what is more is dropped."""
        self.run("ip", "tuntap", "add", "dev", name, "mode", "tap")
        if queue:
            self.run("ip", "link", "set", name, "txqueuelen", str(queue))
        if address:
            self.run("ip", "address", "add", address, "dev", name)
        self.run("ip", "link", "set", name, "up")
        if guest:
            self.run("ip", "neighbour", "replace", guest, "lladdr", mac, "nud", "permanent",
                     "dev", name)
