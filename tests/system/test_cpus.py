"""Processors of every age: a missing feature costs time, not correctness; what the kernel cannot do
without is named, and the machine ends with a failure. Always emulated: under KVM a model has what
the host's processor has."""

import functools

import pytest

from tests.system.test_machines import works

# As far as TCG offers what they have: from the first 64-bit model to all there is.
MODELS = ["qemu64", "kvm64", "Nehalem", "Haswell", "EPYC", "max"]
# One thing missing that code of ours has a way around.
WITHOUT = ["xsave", "fsgsbase", "rdrand", "pdpe1gb", "avx", "hypervisor", "cx16", "pse"]
# One thing missing that it has not: CPUID's name for it.
NEEDED = {"qemu64,-nx": ["nx"], "qemu64,-sse2": ["sse2"], "max,-fxsr": ["fxsr"],
          "qemu64,-cmov": ["cmov"], "max,-pge,-cx8": ["cx8", "pge"],
          "max,-fpu,-tsc,-msr,-pae,-sse": ["fpu", "tsc", "msr", "pae", "sse"],
          "qemu32": ["nx", "long-mode"], "pentium3": ["sse2", "nx", "long-mode"]}


@pytest.fixture
def boot(boot):
    return functools.partial(boot, accel="tcg")


@pytest.mark.parametrize("cpu", MODELS + [f"max,-{f}" for f in WITHOUT])
def test_hello(boot, cpu):
    guest = boot("hello", cpu=cpu)
    assert guest.wait_end(30) == 0
    assert "hello" in guest.text


@pytest.mark.parametrize("cpu", MODELS + [f"max,-{f}" for f in WITHOUT])
def test_redis(boot, cpu):
    works(boot("redis", "tap", cpu=cpu))


def one_line(guest):
    """What a guest says that ends at once with a failure."""
    assert guest.wait_end(30) == 1, guest.tail()
    lines = [line.strip() for line in guest.text.splitlines()]
    # QEMU's own remarks on what TCG cannot do.
    lines = [line for line in lines if line and not line.startswith("qemu-system")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("cpu", NEEDED)
def test_what_the_kernel_needs_is_named(boot, cpu):
    line = one_line(boot("hello", cpu=cpu))
    assert line.startswith("oblako: this processor lacks what the kernel needs: ")
    assert line.split(": ")[2].split() == NEEDED[cpu]


@pytest.mark.parametrize("machine", ["microvm-acpi", "pc"])
def test_on_other_machines_too(boot, machine):
    assert one_line(boot("hello", machine=machine, cpu="qemu64,-nx")).endswith(": nx")


def test_no_interrupt_controller_matters_to_who_needs_interrupts(boot):
    assert boot("hello", cpu="max,-apic").wait_end(30) == 0
    guest = boot("redis", "user", cpu="max,-apic")
    assert guest.wait_end(30) == 1
    assert "this processor lacks what the application needs: apic" in guest.text
