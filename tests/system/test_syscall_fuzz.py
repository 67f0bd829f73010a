"""The system-call fuzzer (tests/guest/syscall_fuzz.c): that it makes every call there is, and 30 long
runs. A short one is among the guest tests."""

import re
import subprocess

import pytest

from tests import run_guest
from tests.system.conftest import ROOT

# These end or replace the calling thread, or are none of Linux's (sys_now is lwIP's clock).
NOT_MADE = {"exit", "exit_group", "clone", "rt_sigreturn", "arch_prctl", "cancellation_point",
            "set_thread_pointer", "unmap_and_exit", "now"}
SEEDS = range(1, 31)
CALLS = 300_000


def calls_of_the_kernel():
    symbols = subprocess.run(["nm", ROOT / "build" / "cmake" / "libkernel.a"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return set(re.findall(r" T sys_(\w+)$", symbols, re.MULTILINE))


def test_every_call_is_made():
    listed = re.findall(r"^CALL\((\w+)\)", (ROOT / "tests/guest/syscall_list.h").read_text(),
                        re.MULTILINE)
    kernel = calls_of_the_kernel()
    assert len(kernel) > 200
    assert set(listed) == kernel - NOT_MADE


@pytest.mark.full
@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed):
    console, _, status = run_guest.boot("syscall_fuzz", {"args": f"{seed} {CALLS}", "mem": "128",
                                                         "limit": "900"})
    text = console.decode(errors="replace")
    outcome = run_guest.Outcome()
    outcome.read_tap(text)
    assert status == 0 and not outcome.failed, text[-6000:]
