#!/usr/bin/env python3
"""Boots build/NAME/NAME.elf in QEMU and stays until it ends: what `make run APP=NAME` calls.

The guest's console comes out here, backtraces with names. One line says when the application
really answers. ^C and SIGTERM go to the guest as SIGINT; a second signal ends the machine at once.
The exit status is the application's.
"""

import argparse
import collections
import contextlib
import fcntl
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from vmkit import kvm, vm
from vmkit.capture import Capture
from vmkit.symbols import Symbols
from vmkit.user_network import LOOPBACK, UserNetwork, check_free, parse_ports

STOP_PATIENCE = 5  # seconds from ^C until we say that it takes long
TWICE = 0.05  # seconds in which a signal that comes again is the same one
LISTEN_LIMIT = 8  # seconds from SIGTERM in which the guest has to say something


def say(text):
    print(f"run: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(text)
    sys.exit(2)


def setting(name):
    return os.environ.get(name, "")  # from make's command line


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("app")
    p.add_argument("--build", default=str(vm.BUILD), help="build folder")
    p.add_argument("--args", default=setting("ARGS"), help="for the application, after its recipe's own")
    p.add_argument("--options", default=setting("OPTIONS"), help="for the kernel: ip=172.44.0.2/24 gw=… boot.trace")
    p.add_argument("--mem", default=setting("MEM"), help="MB")
    p.add_argument("--cpus", default=setting("CPUS"))
    p.add_argument("--port", default=setting("PORT"), help="on this host (default: the application's); or HOST:GUEST, HOST:GUEST/udp, several with commas")
    p.add_argument("--accel", default=setting("ACCEL"), help="kvm or tcg")
    p.add_argument("--machine", default=setting("MACHINE"), help="microvm, microvm-acpi, q35, pc")
    p.add_argument("--net", default=setting("NET"), help="user (passt where it works), slirp (QEMU's own), none or tap:INTERFACE")
    p.add_argument("--capture", default=setting("CAPTURE"), help="a pcap file for the guest's packets")
    p.add_argument("--gdb", action="store_true", help="stop before the first instruction, in gdb")
    return p.parse_args()


def whole_number(name, text, default, what):
    value = int(text) if re.fullmatch(r"[0-9]{1,9}", text or "") else 0 if text else default
    if value < 1:
        fail(f"{name}={text}: write {what}, for example {name}={default}")
    return value


def quotes_close(text):
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


class Network:
    """Where the guest's port is for us, and what QEMU is told about it."""

    def __init__(self, app, arguments, options):
        self.address = None
        self.mac = "52:54:00:12:34:56"
        self.user = None
        kind, _, interface = (arguments.net or "user").partition(":")
        if kind == "none":
            self.netdev = None
        elif kind == "tap" and interface:
            if not os.path.exists(f"/sys/class/net/{interface}"):
                fail(f"NET=tap:{interface}: there is no such interface here")
            self.netdev = vm.tap_network(interface)
            self.mac = vm.mac_for(interface)
            static = re.search(r"(?:^|\s)ip=([\d.]+)", options)
            if static and app.port:
                self.address = (static[1], app.port)
        elif kind in ("user", "slirp"):
            self._start_user_network(app, arguments, None if kind == "user" else kind)
        else:
            fail(f"NET={arguments.net}: use user, slirp, none or tap:INTERFACE")

    def _start_user_network(self, app, arguments, kind):
        text = arguments.port or (str(app.port) if app.port else "")
        try:
            forwards = parse_ports(text, app.port) if text else []
            check_free(forwards)
        except ValueError as error:
            fail(f"PORT={text}: {error}" if arguments.port else str(error))
        self.user = UserNetwork(forwards, kind)
        if self.user.why:
            say(f"QEMU's own network, which is slow under load: {self.user.why}")
        self.netdev = self.user.netdev
        own = [f for f in forwards if f.protocol == "tcp" and f.guest == app.port]
        if own:
            self.address = (LOOPBACK[0], own[0].host)

    def files(self):
        """The descriptors that QEMU inherits."""
        return self.user.files if self.user else ()

    def started(self):
        if self.user:
            self.user.started()

    def close(self):
        if self.user:
            self.user.close()


# One question per kind of application, and what begins a real answer to it.
PROBES = {
    "redis": (b"PING\r\n", (b"+PONG", b"-NOAUTH")),
    "http": (b"GET / HTTP/1.0\r\n\r\n", (b"HTTP/",)),
    "greeting": (b"", (b"",)),
}


class Attempt:
    """One connection to the application, which never waits: step() goes on when the socket is ready."""

    def __init__(self, address, probe, deadline):
        self.question, self.beginnings = PROBES.get(probe, PROBES["greeting"])
        self.deadline = deadline
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(address)

    def step(self):
        """True: it answers. False: not yet. OSError: this attempt has failed."""
        if self.question:
            self.socket.sendall(self.question)
            self.question = b""
            return False
        answer = self.socket.recv(512)
        if not answer.startswith(self.beginnings) or not answer:
            raise ConnectionError
        return True

    def wants(self):
        return select.POLLOUT if self.question else select.POLLIN


class Announcer(threading.Thread):
    """Says once when the application answers. An attempt that began before the guest listened may
    hang for seconds, so a new one begins every few milliseconds, whatever became of those before.
    The figure is late by one interval at most: 4 ms, or a hundredth of the figure."""

    EVERY = 0.004  # seconds
    PART = 0.01  # of what has passed
    AT_ONCE = 25  # attempts under way; older ones are given up, since each may cost the guest memory
    # What was given up stays open for so long (seconds). The SYN that passt sent to a guest that was not
    # up yet is lost; until it gives up itself, after 10 s, it needs a whole processor for every client
    # that has gone away (version 2023-03-09).
    REST = 12

    def __init__(self, name, address, probe, started):
        super().__init__(daemon=True)
        self.name_of_app, self.address, self.probe, self.started = name, address, probe, started
        self.stopped = False
        self.attempts = {}  # by descriptor
        self.resting = collections.deque()  # (until when, socket)
        self.poll = select.poll()
        self.start()

    def elapsed(self):
        return time.monotonic() - self.started

    def run(self):
        due = self.elapsed()
        while not self.stopped:
            now = self.elapsed()
            if now >= due:
                every = max(self.EVERY, now * self.PART)
                due = now + every
                self.begin(now + every * self.AT_ONCE)
            if answered := self.look(due - now):
                ms = self.elapsed() * 1000
                say(f"{self.name_of_app} answers on {self.address[0]}:{self.address[1]} after {ms:.0f} ms")
                self.end(answered)
                break

    def end(self, answered):
        """Attempts that began later reached the guest as well; what became of the others is not known."""
        for descriptor, attempt in list(self.attempts.items()):
            (self.drop if attempt.deadline >= answered.deadline else self.rest)(descriptor)
        while self.resting and not self.stopped:
            until, _ = self.resting[0]
            time.sleep(max(until - self.elapsed(), 0))
            self.resting.popleft()[1].close()

    def begin(self, deadline):
        for descriptor in [d for d, a in self.attempts.items() if a.deadline < self.elapsed()]:
            self.rest(descriptor)
        while self.resting and self.resting[0][0] < self.elapsed():
            self.resting.popleft()[1].close()
        attempt = Attempt(self.address, self.probe, deadline)
        descriptor = attempt.socket.fileno()
        self.attempts[descriptor] = attempt
        self.poll.register(descriptor, attempt.wants())

    def look(self, seconds):
        """Goes on with whatever is ready within that time; the attempt that was answered, or None."""
        for descriptor, _ in self.poll.poll(max(seconds, 0) * 1000):
            attempt = self.attempts[descriptor]
            try:
                if attempt.step():
                    return attempt
                self.poll.modify(descriptor, attempt.wants())
            except OSError:
                self.drop(descriptor)
        return None

    def rest(self, descriptor):
        self.poll.unregister(descriptor)
        self.resting.append((self.elapsed() + self.REST, self.attempts.pop(descriptor).socket))

    def drop(self, descriptor):
        self.poll.unregister(descriptor)
        self.attempts.pop(descriptor).socket.close()

    def stop(self):
        self.stopped = True


class Console:
    """Copies the guest's console to ours as it comes, and names what is in backtraces."""

    def __init__(self, symbols):
        self.symbols = symbols
        self.line = b""

    def feed(self, data):
        out = b""
        for piece in data.splitlines(keepends=True):
            text = piece.rstrip(b"\r\n")
            self.line += text
            out += text
            if len(text) != len(piece):
                out += self.symbols.annotate(self.line) + piece[len(text):]
                self.line = b""
        sys.stdout.buffer.write(out)
        sys.stdout.buffer.flush()


class Keyboard:
    """What comes on our standard input goes to the guest's console, as fast as the guest takes it.
    The end of our input is ^D there. ^C overtakes what has not been sent and drops it, as on a
    terminal."""

    INTERRUPT, END = b"\x03", b"\x04"
    PIPE = 4096  # bytes between us and QEMU, which ^C cannot overtake

    def __init__(self, sink):
        self.sink = sink.fileno()
        self.source = sys.stdin.fileno()  # None behind its end
        self.pending = b""
        self.interrupting = False
        self.line_open = False
        os.set_blocking(self.sink, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.sink, fcntl.F_SETPIPE_SZ, self.PIPE)

    def inputs(self):
        return [self.source] if self.source is not None and not self.pending else []

    def outputs(self):
        return [self.sink] if self.pending or self.interrupting else []

    def interrupt(self):
        """Context: a signal's handler. OSError: QEMU is gone."""
        self.interrupting = True
        self.send()

    def take(self):
        """Our standard input is readable."""
        try:
            self.pending = os.read(self.source, 4096)
        except OSError:  # we are in the background
            self.source = None
            return
        if self.pending:
            self.line_open = not self.pending.endswith((b"\n", self.END))
        else:
            self.pending = self.END * (2 if self.line_open else 1)
            self.source = None
        self.send()

    def send(self):
        """What the guest takes at the moment."""
        try:
            if self.interrupting:
                os.write(self.sink, self.INTERRUPT)
                self.interrupting, self.pending = False, b""
            if self.pending:
                self.pending = self.pending[os.write(self.sink, self.pending):]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # so its output ends, too
            interrupting, self.interrupting = self.interrupting, False
            self.pending, self.source = b"", None
            if interrupting:
                raise


class Stopper:
    """The first signal: SIGINT for the guest, through its console. The second: the end. ^C leaves the
    guest as much time as it takes. Who sends SIGTERM or SIGHUP may not be there to send another, so
    then the guest has to say something within some seconds."""

    def __init__(self, qemu, keyboard):
        self.qemu = qemu
        self.keyboard = keyboard
        self.asked_at = None
        self.heard_since = False
        self.must_listen = False
        self.reminded = False
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, self.asked)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background we just get no input

    def asked(self, number, _):
        if self.asked_at is not None:
            # `timeout` sends its signal to the process and to the process's group.
            if time.monotonic() - self.asked_at > TWICE:
                self.qemu.kill()
            return
        self.asked_at = time.monotonic()
        self.must_listen = number != signal.SIGINT
        try:
            self.keyboard.interrupt()
        except OSError:
            self.qemu.kill()

    def heard(self):
        """The guest wrote to its console."""
        self.heard_since = self.asked_at is not None

    def look(self):
        """Called every half second at least."""
        if self.asked_at is None:
            return
        waited = time.monotonic() - self.asked_at
        if self.must_listen and not self.heard_since and waited > LISTEN_LIMIT:
            say(f"the guest said nothing for {LISTEN_LIMIT} s after the signal, so it is ended")
            self.must_listen = False
            self.qemu.kill()
        elif not self.reminded and waited > STOP_PATIENCE:
            self.reminded = True
            say("still running; ^C again ends it at once")


class Complaints(threading.Thread):
    """Copies what QEMU itself says to our standard error. When KVM has met an instruction that it
    cannot interpret, QEMU stops the machine for good and stays: we end it."""

    PATIENCE = 0.5  # seconds for the registers, which follow

    def __init__(self, qemu):
        super().__init__(daemon=True)
        self.qemu = qemu
        self.kvm_gave_up = False
        self.start()

    def run(self):
        said = b""
        while piece := os.read(self.qemu.stderr.fileno(), 65536):
            sys.stderr.buffer.write(piece)
            sys.stderr.buffer.flush()
            said = said[-100:] + piece
            if kvm.INTERNAL_ERROR in said and not self.kvm_gave_up:
                self.kvm_gave_up = True
                threading.Timer(self.PATIENCE, self.qemu.kill).start()


def serve(qemu, console):
    """Moves bytes both ways until QEMU closes the console."""
    keyboard = Keyboard(qemu.stdin)
    stopper = Stopper(qemu, keyboard)
    output = qemu.stdout.fileno()
    while True:
        readable, writable, _ = select.select([output, *keyboard.inputs()], keyboard.outputs(), [], 0.5)
        stopper.look()
        if output in readable:
            data = os.read(output, 65536)
            if not data:
                return
            stopper.heard()
            console.feed(data)
        with contextlib.suppress(BrokenPipeError):
            if writable:
                keyboard.send()
            if keyboard.source in readable:
                keyboard.take()


def run(app, command, network, machine):
    symbols = Symbols(app.symbols)
    started = time.monotonic()
    qemu = vm.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    pass_fds=network.files())
    network.started()
    complaints = Complaints(qemu)
    announcer = None
    if network.address and app.probe:
        announcer = Announcer(app.name, network.address, app.probe, started)
    try:
        serve(qemu, Console(symbols))
        code = qemu.wait()
    finally:
        if announcer:
            announcer.stop()
        if qemu.poll() is None:
            qemu.kill()
        symbols.close()
    complaints.join(1)
    status = vm.exit_status(code, machine)
    if vm.was_reset(code, machine):
        say("the machine was reset without a word: a triple fault")
    if complaints.kvm_gave_up:
        say("KVM cannot interpret an instruction of this image: ACCEL=tcg emulates it")
    if code == vm.NOT_STARTED:
        say("QEMU did not start")
    elif code < 0:
        say(f"QEMU was ended by {signal.Signals(-code).name}, and {app.name} with it")
    elif status:
        say(f"{app.name} ended with status {status}")
    return status


def debug(app, command, network):
    """QEMU waits before its first instruction; gdb gets our terminal."""
    folder = tempfile.mkdtemp(prefix="oblako-gdb-")
    path = os.path.join(folder, "socket")
    qemu = vm.start(command + ["-S", "-gdb", f"unix:{path},server=on,wait=off"],
                    pass_fds=network.files())
    network.started()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C belongs to gdb
    try:
        while not os.path.exists(path) and qemu.poll() is None:
            time.sleep(0.01)
        # A hardware breakpoint, since at a stop before boot nothing is loaded or mapped yet.
        return subprocess.run(
            ["gdb", "-q", str(app.symbols), "-ex", "set confirm off",
             "-ex", "set architecture i386:x86-64", "-ex", f"target remote {path}",
             "-ex", "hbreak main"],
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)).returncode
    finally:
        qemu.kill()
        qemu.wait()
        shutil.rmtree(folder, ignore_errors=True)


def start_capture(path, net):
    """The guest sends to its gateway: us, on the loopback if QEMU is the gateway."""
    try:
        return Capture(open(path, "wb"), "0.0.0.0" if net.startswith("tap:") else "127.0.0.1").start()
    except OSError as error:
        fail(f"CAPTURE={path}: {error.strerror}")


def main():
    arguments = parse_arguments()
    if not shutil.which("qemu-system-x86_64"):
        fail("qemu-system-x86_64 is not installed: scripts/setup.sh")
    try:
        app = vm.App(arguments.app, arguments.build)
    except FileNotFoundError as error:
        fail(str(error))
    machine = arguments.machine or "microvm"
    if machine not in vm.MACHINES:
        fail(f"MACHINE={machine}: use one of {', '.join(vm.MACHINES)}")
    memory = whole_number("MEM", arguments.mem, app.memory, "a whole number of megabytes")
    if memory < app.least_memory:
        fail(f"MEM={memory}: the image of {app.name} alone needs {app.least_memory} MB, "
             "and the application more")
    cpus = whole_number("CPUS", arguments.cpus, 1, "a whole number")
    if arguments.accel not in ("", "kvm", "tcg"):
        fail(f"ACCEL={arguments.accel}: use kvm or tcg")
    if not quotes_close(arguments.args):
        fail(f"ARGS={arguments.args}: a quote is not closed")
    network = Network(app, arguments, arguments.options)
    accel, why = vm.accelerator(arguments.accel)
    if why:
        say(f"without KVM ({why}), so emulated and several times slower")
    options = arguments.options.split()
    capture = None
    if arguments.capture:
        capture = start_capture(arguments.capture, arguments.net)
        options.append(f"net.capture={capture.port}")
    line = vm.command_line(options, arguments.args)
    command = vm.qemu_command(app.image, machine=machine, accel=accel, memory=memory, cpus=cpus,
                              netdev=network.netdev, mac=network.mac, append=line)
    try:
        status = debug(app, command, network) if arguments.gdb else run(app, command, network, machine)
    finally:
        network.close()
        if capture:
            capture.stop()
            say(f"{capture.records} packets are in {arguments.capture}")
    sys.exit(status)


if __name__ == "__main__":
    main()
