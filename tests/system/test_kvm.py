"""A smoke test on KVM wherever /dev/kvm opens. Without virtualisation in the processor, KVM may
interpret the guest's ring 0: slowly, and without vector instructions. Its clock, interrupt
controllers and MSRs are the real ones all the same."""

import os
import subprocess

import pytest
from vmkit import vm


def skip_without_kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        pytest.skip(f"not run: /dev/kvm does not open ({error.strerror})")


def test_the_image_holds_no_vector_instruction(app):
    listing = subprocess.run(["objdump", "-d", app("system-integer_hello").symbols], text=True,
                             check=True, capture_output=True).stdout
    assert "main>:" in listing
    assert [line for line in listing.splitlines() if "%xmm" in line or "%ymm" in line] == []


@pytest.mark.parametrize("machine", ["microvm", "microvm-acpi"])
def test_hello_reaches_main_and_powers_off(boot, machine):
    skip_without_kvm()
    guest = boot("system-integer_hello", accel="kvm", machine=machine)
    assert guest.wait_end(30) == 0, guest.tail()
    assert "integer hello" in guest.text


def test_a_kvm_without_hardware_below_is_not_chosen(monkeypatch):
    """Slower than TCG, and most images do not run there."""
    class CpuInfo:
        text = ""

        def __init__(self, _):
            pass

        def read_text(self):
            return self.text

    monkeypatch.setattr(vm, "Path", CpuInfo)
    monkeypatch.setattr(os.path, "exists", lambda _: True)
    monkeypatch.setattr(os, "access", lambda *_: True)
    for flags, name in (("flags : fpu sse2 hypervisor", "tcg"), ("flags : fpu vmx", "kvm"),
                        ("flags : fpu svm", "kvm")):
        CpuInfo.text = flags
        assert vm.accelerator()[0] == name
    assert vm.accelerator("kvm") == ("kvm", None), "asked for by name"
