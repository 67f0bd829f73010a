"""A smoke test on KVM wherever a null guest runs under it. Without virtualisation in the processor,
KVM may interpret the guest's ring 0: slowly, and without vector instructions. Its clock, interrupt
controllers and MSRs are the real ones all the same."""

import subprocess
import time

import pytest
from vmkit import kvm, vm


def skip_without_kvm():
    if not kvm.trial().starts:
        pytest.skip(f"not run: KVM: {kvm.trial().why}")


def end_under_kvm(guest):
    """The guest's exit status. A KVM that is known to interpret only some instructions may not know
    one of ours; any other KVM that gives up has met a fault of the image."""
    status = guest.wait_end(30)
    if guest.kvm_gave_up and not kvm.trial().complete:
        pytest.skip(f"not run: KVM: {kvm.trial().why}")
    return status


def test_the_image_holds_no_vector_instruction(app):
    listing = subprocess.run(["objdump", "-d", app("system-integer_hello").symbols], text=True,
                             check=True, capture_output=True).stdout
    assert "main>:" in listing
    assert [line for line in listing.splitlines() if "%xmm" in line or "%ymm" in line] == []


@pytest.mark.parametrize("machine", ["microvm", "microvm-acpi"])
def test_hello_reaches_main_and_powers_off(boot, machine):
    """The time is KVM's, since none that can be read is on the command line."""
    skip_without_kvm()
    before = int(time.time())
    guest = boot("system-integer_hello", accel="kvm", machine=machine, options="clock=none")
    assert end_under_kvm(guest) == 0, guest.tail()
    assert "integer hello" in guest.text
    seconds = int(guest.wait_console(r"seconds since 1970: (\d+)\s")[1])
    assert before - 2 <= seconds <= time.time() + 2
    assert 0 < int(guest.wait_console(r"ns since boot: (\d+)\s")[1]) < 30e9


def test_a_kvm_without_hardware_below_is_not_chosen(monkeypatch):
    """Slower than TCG, and most images do not run there."""
    class CpuInfo:
        text = ""

        def __init__(self, _):
            pass

        def read_text(self):
            return self.text

    monkeypatch.setattr(kvm, "Path", CpuInfo)
    monkeypatch.setattr(kvm, "opens", lambda: None)
    monkeypatch.setattr(kvm, "trial", lambda: kvm.Trial("host", True, True, ""))
    for flags, name in (("flags : fpu sse2 hypervisor", "tcg"), ("flags : fpu vmx", "kvm"),
                        ("flags : fpu svm", "kvm")):
        CpuInfo.text = flags
        assert vm.accelerator()[0] == name
    assert vm.accelerator("kvm") == ("kvm", None), "asked for by name"
