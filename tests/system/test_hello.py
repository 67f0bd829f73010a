"""Boot, console, arguments, exit status, crash report: with images that need no network."""

import subprocess
import time

import pytest
from vmkit import vm

from tests.system.conftest import ROOT

MACHINES = list(vm.MACHINES)


@pytest.mark.parametrize("machine", MACHINES)
def test_hello(boot, machine):
    guest = boot("hello", machine=machine)
    assert guest.wait_end(30) == 0
    assert "hello" in guest.text


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("status", [0, 1, 3, 77])
def test_exit_status(boot, machine, status):
    guest = boot("system-exit_status", machine=machine, args=str(status))
    assert guest.wait_end(30) == status


@pytest.mark.parametrize("memory", [4, 64, 2048, 5000])
def test_memory_sizes(boot, memory):
    assert boot("hello", memory=memory).wait_end(30) == 0


def test_boots_a_hundred_times(boot):
    slowest = 0
    for _ in range(100):
        guest = boot("hello", limit=20)
        assert guest.wait_end(20) == 0, guest.tail()
        assert "hello" in guest.text
        slowest = max(slowest, time.monotonic() - guest.started)
    assert slowest < 5


def test_arguments_and_environment(boot):
    guest = boot("system-arguments", options="env.COLOUR=blue",
                 args="""plain "two words" 'sin"gle' back\\ slash "" last""")
    assert guest.wait_end(30) == 0
    got = [line.strip()[10:-1] for line in guest.text.splitlines() if line.startswith("argument")]
    assert got == ["plain", "two words", 'sin"gle', "back slash", "", "last"]
    assert "environment [COLOUR=blue]" in guest.text
    environment = sorted(line.strip()[13:-1] for line in guest.text.splitlines()
                         if line.startswith("environment"))
    assert environment == ["COLOUR=blue", "HOME=/", "PATH=/usr/bin:/bin"]


@pytest.mark.parametrize("given,expected", [
    ("env.HOME=/data env.PATH=/opt", ["HOME=/data", "PATH=/opt"]),
    ("env.PATH=", ["HOME=/", "PATH="]),
    ("env.HOM=x env.HOMES=y", ["HOM=x", "HOME=/", "HOMES=y", "PATH=/usr/bin:/bin"]),
])
def test_a_variable_given_replaces_the_default(boot, given, expected):
    guest = boot("system-arguments", options=given)
    assert guest.wait_end(30) == 0
    assert sorted(line.strip()[13:-1] for line in guest.text.splitlines()
                  if line.startswith("environment")) == expected


def test_an_unknown_option_is_named(boot):
    guest = boot("hello", options="no.such.option=1")
    assert guest.wait_end(30) == 0
    assert "no.such.option" in guest.text


@pytest.mark.parametrize("machine", MACHINES)
def test_a_crash_is_reported_with_names(boot, machine):
    guest = boot("system-crash", machine=machine)
    assert guest.wait_end(30) == 139 & 127, "SIGSEGV, 128 + 11, as far as QEMU's 7 bits go"
    assert "SIGSEGV" in guest.text
    assert "0x10" in guest.text, "the bad address"
    report = guest.named_console()
    backtrace = report[report.index("backtrace:"):]
    assert "innermost+0x" in backtrace
    assert "middle+0x" in backtrace
    assert "crash.c:" in backtrace


def test_dying_of_a_signal_is_a_failure(boot):
    guest = boot("system-exit_status", args="signal 6")
    assert guest.wait_end(30) not in (0, None)
    assert "SIGABRT" in guest.text or "signal 6" in guest.text


@pytest.mark.parametrize("machine", MACHINES)
def test_control_c_is_sigint(boot, machine):
    guest = boot("system-wait_signal", machine=machine)
    guest.wait_console("waiting")
    guest.interrupt()
    assert guest.wait_end(10) == 0
    assert "signal 2" in guest.text


@pytest.mark.parametrize("machine", ["microvm-acpi", "q35", "pc"])
def test_the_power_button_is_sigterm(boot, machine, tmp_path):
    monitor = tmp_path / "monitor"
    guest = boot("system-wait_signal", machine=machine,
                 extra=["-monitor", f"unix:{monitor},server=on,wait=off"])
    guest.wait_console("waiting")
    import socket
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(monitor))
        s.sendall(b"system_powerdown\n")
        assert guest.wait_end(10) == 0
    assert "signal 15" in guest.text


def test_more_than_there_is_in_one_piece_is_refused(boot):
    guest = boot("system-eat_memory", memory=32, args="huge")
    assert guest.wait_end(60) == 0
    assert "malloc: Out of memory" in guest.text


def test_memory_used_up_in_small_pieces(boot):
    """Either malloc says so, or the kernel's report; never a hang."""
    guest = boot("system-eat_memory", memory=32, args="malloc")
    if guest.wait_end(60) == 0:
        assert "malloc: Out of memory" in guest.text
    else:
        assert "oblako: out of memory" in guest.text


def test_touching_more_than_there_is_ends_in_a_report(boot):
    guest = boot("system-eat_memory", memory=32, args="touch")
    assert guest.wait_end(60) not in (0, 3), "a promise of memory that cannot be kept"
    assert "out of memory" in guest.text


def test_waiting_costs_nothing(boot):
    guest = boot("system-wait_signal")
    guest.wait_console("waiting")
    time.sleep(1)
    assert guest.cpu_share(3) < 0.02


# --- the linker is the configuration ---

NETWORK = ["sys_socket", "tcp_input", "netif_add", "etharp_input", "ip4_input", "oblako::net::",
           "virtio_net"]


def symbols(app):
    return subprocess.run(["nm", "-C", "--defined-only", app.symbols], text=True, check=True,
                          capture_output=True).stdout


def test_hello_holds_no_network(app):
    listing = symbols(app("hello"))
    assert "sys_writev" in listing
    assert [s for s in NETWORK if s in listing] == []


def test_one_socket_brings_the_network(app, boot):
    listing = symbols(app("system-hello_socket"))
    assert [s for s in NETWORK if s not in listing] == []
    guest = boot("system-hello_socket")
    assert guest.wait_end(30) == 0
    assert "socket ok" in guest.text


def test_a_call_by_number_brings_only_that_call(app, boot):
    listing = symbols(app("system-hello_syscall"))
    assert "sys_getpid" in listing
    assert [s for s in NETWORK if s in listing] == []
    guest = boot("system-hello_syscall")
    assert guest.wait_end(30) == 0
    assert "pid 1\n" in guest.text.replace("\r", "")


def test_no_code_is_writable_and_no_data_executable(app):
    for name in ("hello", "redis"):
        headers = subprocess.run(["readelf", "-lW", app(name).image], text=True, check=True,
                                 capture_output=True).stdout
        loads = [line for line in headers.splitlines() if line.split()[:1] == ["LOAD"]]
        assert loads
        assert not [line for line in loads if "WE" in line.replace(" ", "") or "RWE" in line]


def test_the_report_of_system_calls(app):
    done = subprocess.run([ROOT / "scripts" / "report_syscalls.py", app("hello").symbols,
                           "/dev/stdin"], input="1 write\n20 writev\n231 exit_group\n", text=True,
                          capture_output=True, check=True)
    assert done.stdout.startswith("hello reaches 2 system calls: 2 implemented")
