"""scripts/run.py, what `make run` is: from the outside, as a user sees it."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.system.conftest import ROOT
from tests.system.guest import free_port
from tests.system.test_console import fnv1a


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
    for name in ("system-crash", "system-exit_status", "system-typed", "redis"):
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


def test_standard_input_reaches_the_guest_whole(build_system):
    text = b"".join(b"%d " % i for i in range(5_000))  # one line, longer than what waits in the guest
    done = subprocess.run([ROOT / "scripts" / "run.py", "system-typed", *build_system, "--args", "all 500"],
                          input=text, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert f"all {len(text)} {fnv1a(text)}".encode() in done.stdout


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
    time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=3)


def test_timeout_ends_it_in_order(build_system):
    """timeout(1) sends its signal twice, at once."""
    done = subprocess.run(["timeout", "4", ROOT / "scripts" / "run.py", "redis", "--port", str(free_port())],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert "Redis is now ready to exit" in done.stdout, done.stdout + done.stderr


def test_a_port_in_use_is_named(build_system):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = start("redis", "--port", str(port))
        output, _ = done.communicate(timeout=10)
    assert done.returncode == 2
    assert f"port {port} cannot be used" in output and "PORT=" in output


@pytest.mark.parametrize("port", ["70000", "0", "80:90000", "8080:80/sctp", "x", "5:6,5:7"])
def test_what_is_no_port_is_one_line(build_system, port):
    done = start("redis", "--port", port)
    output, _ = done.communicate(timeout=10)
    assert done.returncode == 2
    assert output.startswith(f"run: PORT={port}: ") and output.count("\n") == 1, output


@pytest.mark.parametrize("setting, complaint", [
    ("mem=64M", "write a whole number of megabytes, for example MEM="),
    ("mem=0.5", "write a whole number of megabytes, for example MEM="),
    ("cpus=0", "write a whole number, for example CPUS=1"),
    ("accel=hvf", "use kvm or tcg"),
    ("args='one", "a quote is not closed"),
])
def test_a_wrong_setting_is_one_line(build_system, setting, complaint):
    name, value = setting.split("=")
    done = start("redis", f"--{name}", value)
    output, _ = done.communicate(timeout=10)
    assert done.returncode == 2
    assert output.startswith(f"run: {name.upper()}={value}: {complaint}") and output.count("\n") == 1, output


def test_a_qemu_that_does_not_start_is_not_the_application(build_system):
    done = start("redis", "--net", "none", "--cpus", "100000")
    output, _ = done.communicate(timeout=10)
    assert done.returncode == 1
    assert "run: QEMU did not start" in output and "redis ended" not in output


def ping(address, port):
    with socket.create_connection((address, port), 5) as s:
        s.sendall(b"PING\r\n")
        return s.recv(100)


def stop(run):
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=20)
    assert run.returncode == 0, output
    return output


def has_ipv6_loopback():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("net", ["user", "slirp"])
def test_both_families_and_several_ports(build_system, net):
    first, second = free_port(), free_port()
    run = start("redis", "--net", net, "--port", f"{first},{second}:6379,{free_port()}:53/udp")
    read_until(run, "redis answers on")
    assert ping("127.0.0.1", first) == ping("127.0.0.1", second) == b"+PONG\r\n"
    if has_ipv6_loopback():
        assert ping("::1", first) == b"+PONG\r\n"
    stop(run)


def test_only_the_loopback_is_bound(build_system):
    port = free_port()
    run = start("redis", "--port", str(port))
    read_until(run, "redis answers on")
    listening = subprocess.run(["ss", "-Hlntu"], text=True, capture_output=True, check=True).stdout
    bound = [line.split()[4] for line in listening.splitlines() if f":{port} " in line]
    assert bound and set(bound) <= {f"127.0.0.1:{port}", f"[::1]:{port}"}, bound
    stop(run)


def test_fifty_clients_do_not_stall(build_system):
    """The first thing a new user does. On QEMU's own network it takes tens of seconds."""
    port = free_port()
    run = start("redis", "--port", str(port))
    if "QEMU's own network" in read_until(run, "redis answers on"):
        stop(run)
        pytest.skip("not run: passt does not work here")
    started = time.monotonic()
    subprocess.run(["redis-benchmark", "-p", str(port), "-c", "50", "-n", "5000", "-t", "get", "-q"],
                   timeout=60, check=True, capture_output=True)
    assert time.monotonic() - started < 15  # one retransmission of a SYN would be a second, then two
    stop(run)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_attempts_to_reach_it_leave_the_host_idle(build_system):
    """passt turns in circles while a client is gone whose SYN the guest did not see."""
    port = free_port()
    run = start("redis", "--port", str(port))
    if "QEMU's own network" in read_until(run, "redis answers on"):
        stop(run)
        pytest.skip("not run: passt does not work here")
    pid, = subprocess.run(["pgrep", "-f", f"^passt .*/{port}:"], text=True, check=True,
                          capture_output=True).stdout.split()
    before = cpu_seconds(pid)
    time.sleep(2)
    assert cpu_seconds(pid) - before < 0.2
    stop(run)


def test_where_passt_cannot_be_qemus_network_serves(build_system, tmp_path):
    (tmp_path / "python3").symlink_to(sys.executable)
    for program in ("qemu-system-x86_64", "env", "nm", "addr2line"):
        (tmp_path / program).symlink_to(shutil.which(program))
    port = free_port()
    run = start("redis", "--port", str(port), env=os.environ | {"PATH": str(tmp_path)})
    assert "QEMU's own network, which is slow under load: passt is not installed" in read_until(
        run, "redis answers on")
    stop(run)


def test_the_time_to_the_answer_is_the_clients_time(build_system):
    port = free_port()
    started = time.monotonic()
    run = start("redis", "--port", str(port))
    answered = None
    while answered is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.2) as s:
                s.settimeout(0.2)
                s.sendall(b"PING\r\n")
                if s.recv(100) == b"+PONG\r\n":
                    answered = (time.monotonic() - started) * 1000
        except OSError:
            time.sleep(0.01)
        assert time.monotonic() - started < 60
    said = int(re.search(r"after (\d+) ms", read_until(run, " ms\n"))[1])
    # Its clock starts with QEMU, ours before; and ours waits 0.2 s for an attempt that came too early.
    assert said < answered + 50
    stop(run)


def test_too_little_memory_is_refused_beforehand(build_system):
    done = start("redis", "--mem", "2")
    output, _ = done.communicate(timeout=10)
    assert done.returncode == 2
    assert "run: MEM=2: the image of redis alone needs " in output


def test_sigterm_ends_a_guest_that_does_not_listen(build_system):
    """With a shorter wait than a user's, which ends within ten seconds."""
    assert int(re.search(r"^LISTEN_LIMIT = (\d+) ", (ROOT / "scripts" / "run.py").read_text(), re.M)[1]) <= 9
    hurried = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import run; run.LISTEN_LIMIT = 1; run.main()"
    run = subprocess.Popen([sys.executable, "-c", hurried, "redis", "--port", str(free_port())], text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    read_until(run, "redis answers on")
    qemu = int(open(f"/proc/{run.pid}/task/{run.pid}/children").read().split()[0])
    os.kill(qemu, signal.SIGSTOP)
    started = time.monotonic()
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=20)
    assert 1 <= time.monotonic() - started < 6
    assert run.returncode != 0 and "said nothing for 1 s" in output
    assert "QEMU was ended by SIGKILL, and redis with it" in output


def test_make_passes_the_status_on(app):
    app("httpd")
    done = subprocess.run(["make", "-s", "run", "APP=httpd", "OPTIONS=ip=10.0.0.1"], cwd=ROOT, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 78, done.stdout
    assert "ip=10.0.0.1 is not ADDRESS/LENGTH" in done.stdout


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
