"""Hosts whose KVM does not do what /dev/kvm promises, played by a QEMU of ours that is first in PATH:
`make run` emulates and says why, tests are not run and say why, and what helps is found."""

import os
import shutil
import subprocess
import sys

import pytest
from vmkit import kvm, vm

from tests.system.conftest import ROOT
from tests.system.test_kvm import end_under_kvm, skip_without_kvm

MSR = "failed to set MSR 0x10a to 0x0"

# Under KVM it does what `mode` says; where that is to work, the real one emulates.
QEMU = f"""#!{sys.executable} -SE
import os, sys, time
mode, calls, real = {{mode!r}}, {{calls!r}}, {{real!r}}
words = sys.argv[1:]
with open(calls, "a") as f:
    f.write(" ".join(words) + "\\n")
kvm = "kvm" in words
trial = any("oblako-kvm-" in w for w in words)
if kvm and (mode == "refuses" or mode == "amd" and "-arch-capabilities" not in " ".join(words)):
    sys.exit("qemu-system-x86_64: error: {MSR}")
if kvm and mode == "is silent":
    sys.exit(0)
if kvm and (mode == "interprets" or mode == "dies later" and not trial):
    os.write(1, b"K")
    os.write(2, b"KVM internal error. Suberror: 1\\nemulation failure\\n")
    time.sleep(600)
words = ["tcg" if w == "kvm" else "max" if w.startswith("host") else w for w in words]
os.execv(real, [real, *words])
"""


@pytest.fixture
def host(monkeypatch, tmp_path):
    """host(mode): from now on KVM is such a one. Returns what QEMU has been called with so far."""
    real = shutil.which("qemu-system-x86_64")
    calls = tmp_path / "calls"

    def become(mode):
        calls.write_text("")
        fake = tmp_path / "qemu-system-x86_64"
        fake.write_text(QEMU.format(mode=mode, calls=str(calls), real=real))
        fake.chmod(0o755)
        kvm.trial.cache_clear()
        return lambda: calls.read_text().splitlines()

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(kvm, "DEVICE", "/dev/null")  # opens everywhere
    monkeypatch.setattr(kvm, "MEMORY_FILE", tmp_path / "kvm.json")
    monkeypatch.setattr(kvm, "offered", kvm.opens)
    yield become
    kvm.trial.cache_clear()


def run(tmp_path, name, *arguments):
    """scripts/run.py on that host."""
    code = ("import sys; from pathlib import Path; from vmkit import kvm\n"
            f"kvm.DEVICE, kvm.MEMORY_FILE = '/dev/null', Path({str(tmp_path / 'kvm.json')!r})\n"
            "kvm.offered = kvm.opens\n"
            "import run; run.main()")
    return subprocess.run([sys.executable, "-c", code, name, *arguments], text=True, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": ROOT / "scripts"})


@pytest.mark.parametrize("mode,why", [
    ("refuses", f"not even a null guest starts: {MSR}"),
    ("is silent", "not even a null guest starts: QEMU ended with status 0"),
    ("interprets", "it cannot interpret every instruction")])
def test_make_run_emulates_and_says_why(app, host, tmp_path, mode, why):
    app("hello")
    host(mode)
    done = run(tmp_path, "hello")
    assert done.returncode == 0, done.stdout
    assert "hello" in done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("run: ")]
    assert said == [f"run: without KVM ({why}), so emulated and several times slower"]


@pytest.mark.parametrize("vendor", ["AuthenticAMD", "GenuineIntel"])
def test_a_host_that_refuses_an_msr_runs_without_it(app, host, tmp_path, monkeypatch, vendor):
    """The second try finds it on any processor, the first on AMD's. Once known it is not tried again."""
    app("hello")
    monkeypatch.setattr(kvm, "models", lambda: (kvm.WITHOUT_MSR_10A, kvm.PLAIN)[::
                        1 if vendor == "AuthenticAMD" else -1])
    calls = host("amd")
    assert vm.accelerator() == ("kvm", None)
    assert len(calls()) == (1 if vendor == "AuthenticAMD" else 2)
    for _ in range(2):
        done = run(tmp_path, "hello")
        assert done.returncode == 0 and "run: " not in done.stdout, done.stdout
    assert all("-accel kvm -cpu host,-arch-capabilities" in call for call in calls()[-2:])
    assert len(calls()) == (3 if vendor == "AuthenticAMD" else 4)
    assert vm.processor("kvm", "max,-nx") == "host,-arch-capabilities,-nx"
    assert vm.processor("kvm", "Nehalem") == "Nehalem"


def test_a_kvm_that_gives_up_later_ends_the_run(app, host, tmp_path):
    app("hello")
    host("dies later")
    done = run(tmp_path, "hello")
    assert done.returncode != 0
    assert "KVM internal error" in done.stdout and "ACCEL=tcg" in done.stdout


def test_tests_of_kvm_are_not_run_and_say_why(boot, host):
    host("refuses")
    with pytest.raises(pytest.skip.Exception, match=f"not run: .*{MSR}"):
        skip_without_kvm()
    host("interprets")
    skip_without_kvm()
    with pytest.raises(pytest.skip.Exception, match="not run: .*cannot interpret"):
        end_under_kvm(boot("hello", accel="kvm"))


def test_a_kvm_that_runs_everything_else_is_no_excuse(boot, host):
    host("dies later")
    skip_without_kvm()
    assert end_under_kvm(boot("hello", accel="kvm")) != 0


def test_the_order_of_trying_is_the_vendors(monkeypatch):
    class CpuInfo:
        def __init__(self, _):
            pass

        def read_text(self):
            return text

    monkeypatch.setattr(kvm, "Path", CpuInfo)
    text = "vendor_id : AuthenticAMD"
    assert kvm.models()[0] == kvm.WITHOUT_MSR_10A
    text = "vendor_id : GenuineIntel"
    assert kvm.models()[0] == kvm.PLAIN
