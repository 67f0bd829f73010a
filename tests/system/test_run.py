"""scripts/run.py, what `make run` is: from the outside, as a user sees it."""

import os
import select
import signal
import socket
import subprocess
import time

import pytest

from tests.system.conftest import ROOT
from tests.system.guest import free_port


def start(name, *arguments, **how):
    return subprocess.Popen([ROOT / "scripts" / "run.py", name, *arguments], text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **how)


def read_until(process, text, timeout=60):
    """Output up to the text, or a little further."""
    got, deadline = "", time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            piece = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
            got += piece
            if text in got:
                return got
            if not piece:
                break
    process.kill()
    raise AssertionError(f"no {text!r} in:\n{got}")


@pytest.fixture
def build_system(app):
    for name in ("system-crash", "system-exit_status", "redis"):
        app(name)
    return ["--build", ROOT / "build" / "system"]


def test_status_is_passed_on(build_system):
    done = start("system-exit_status", *build_system, "--args", "42")
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 42, output


def test_backtraces_have_names(build_system):
    done = start("system-crash", *build_system)
    output, _ = done.communicate(timeout=60)
    assert done.returncode != 0
    assert "innermost+0x" in output and "crash.c:" in output


def test_redis_answers_and_stops_in_order(build_system):
    port = free_port()
    run = start("redis", "--port", str(port))
    seen = read_until(run, "redis answers on")
    assert f"redis answers on 127.0.0.1:{port} after" in seen
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=20)
    assert "Received SIGINT" in output
    assert run.returncode == 0, output


def test_a_second_interrupt_ends_it_at_once(build_system):
    run = start("redis", "--port", str(free_port()))
    read_until(run, "redis answers on")
    run.send_signal(signal.SIGINT)
    time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=3)


def test_a_port_in_use_is_named(build_system):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = start("redis", "--port", str(port))
        output, _ = done.communicate(timeout=10)
    assert done.returncode == 2
    assert f"port {port} cannot be used" in output and "PORT=" in output


def test_nothing_is_left_when_we_are_killed(build_system):
    run = start("redis", "--port", str(free_port()))
    read_until(run, "redis answers on")
    children = f"/proc/{run.pid}/task/{run.pid}/children"
    qemu = open(children).read().split()
    assert qemu
    run.kill()
    run.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(os.path.exists(f"/proc/{p}") and "Z" not in
                                              open(f"/proc/{p}/stat").read().split()[2]
                                              for p in qemu):
        time.sleep(0.05)
    assert not [p for p in qemu if os.path.exists(f"/proc/{p}")
                and open(f"/proc/{p}/stat").read().split()[2] != "Z"]
