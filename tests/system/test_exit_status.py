"""How a machine ends, as the host sees it: success is told from a triple fault, with and without what
QEMU offers for it."""

import subprocess

import pytest
from vmkit import vm

from tests.system.conftest import ROOT


def test_a_triple_fault_is_a_failure(boot):
    guest = boot("system-triple_fault")
    assert guest.wait_end(30) == vm.RESET
    assert guest.qemu.returncode == 0, "all that QEMU says of it"
    assert "now" in guest.text


def test_make_run_says_that_the_machine_was_reset(app):
    app("system-triple_fault")
    done = subprocess.run([ROOT / "scripts" / "run.py", "system-triple_fault", "--build",
                           ROOT / "build" / "system"], text=True, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == vm.RESET
    assert "run: the machine was reset" in done.stdout


@pytest.mark.parametrize("machine", vm.MACHINES)
def test_success_is_in_order_or_said(boot, machine):
    guest = boot("hello", machine=machine)
    assert guest.wait_end(30) == 0
    assert guest.qemu.returncode == (vm.SUCCESS if machine == "microvm" else 0)


@pytest.mark.parametrize("status", [vm.SUCCESS_VALUE, 128, 128 + vm.SUCCESS_VALUE])
def test_no_failure_looks_like_a_success(boot, status):
    assert boot("system-exit_status", args=str(status)).wait_end(30) == 1


@pytest.mark.parametrize("machine", vm.MACHINES)
@pytest.mark.parametrize("status", [0, 3])
def test_without_isa_debug_exit_the_machine_ends_all_the_same(app, machine, status):
    """As under other monitors: power-off or a reset."""
    command = vm.qemu_command(app("system-exit_status").image, machine=machine,
                              append=vm.command_line([], str(status)))
    at = command.index("isa-debug-exit,iobase=0x501")
    del command[at - 1:at + 1]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          timeout=30).returncode == 0


def test_what_qemus_status_means():
    for machine in vm.MACHINES:
        assert vm.exit_status(vm.SUCCESS, machine) == 0
        assert vm.exit_status(3 * 2 + 1, machine) == 3
        assert vm.exit_status(1, machine) == 1, "QEMU does not start"
        assert vm.exit_status(-9, machine) == 128 + 9
    assert vm.exit_status(0, "microvm") == vm.RESET
    assert [vm.exit_status(0, m) for m in ("microvm-acpi", "q35", "pc")] == [0, 0, 0]
