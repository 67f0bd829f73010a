"""Entering the image by Linux's 64-bit boot protocol: as Firecracker does, played by
tests/tools/linux_loader, which QEMU starts with the image as its initrd."""

import subprocess

import pytest

from tests.system.conftest import ROOT
from tests.system.test_kvm import end_under_kvm, skip_without_kvm
from tests.system.test_machines import works

# Where QEMU's microvm puts the first virtio device; it shall not tell the kernel itself.
NO_TOKENS = ["-machine", "auto-kernel-cmdline=off"]
DEVICE = "virtio_mmio.device=4K@0xfeb00e00:12"


@pytest.fixture(scope="module")
def loader():
    done = subprocess.run(["cmake", "--build", ROOT / "build" / "cmake", "--target", "linux_loader"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    return ROOT / "build" / "tools" / "linux_loader"


@pytest.fixture
def boot_linux(boot, app, loader):
    """As `boot`, by the 64-bit protocol."""
    def start(name, network=None, machine_options=(), **how):
        extra = ["-initrd", str(app(name).image), *machine_options]
        # The loader lies at 16 MB, the initrd at the end.
        return boot(name, network, image=loader, extra=extra, memory=64, **how)

    return start


def test_the_elf_entry_is_not_that_of_the_note(app):
    """QEMU goes by the note and enters in 32-bit mode: every other test."""
    symbols = subprocess.run(["nm", app("hello").symbols], text=True, check=True,
                             capture_output=True).stdout
    address = {line.split()[2]: int(line.split()[0], 16) for line in symbols.splitlines()}
    header = subprocess.run(["readelf", "-h", app("hello").image], text=True, check=True,
                            capture_output=True).stdout
    entry = next(int(line.split()[-1], 16) for line in header.splitlines() if "Entry point" in line)
    note = subprocess.run(["readelf", "-n", app("hello").image], text=True, check=True,
                          capture_output=True).stdout
    assert entry == address["linux_entry"]
    assert address["pvh_entry"] != entry
    assert address["pvh_entry"].to_bytes(4, "little").hex(" ") in note


@pytest.mark.parametrize("machine", ["microvm", "microvm-acpi", "q35"])
def test_hello(boot_linux, machine):
    guest = boot_linux("hello", machine=machine)
    assert guest.wait_end(30) == 0, guest.tail()
    assert "hello" in guest.text


def test_hello_under_kvm(boot_linux):
    skip_without_kvm()
    guest = boot_linux("system-integer_hello", accel="kvm")
    assert end_under_kvm(guest) == 0, guest.tail()
    assert "integer hello" in guest.text


@pytest.mark.parametrize("where", ["", "loader.high"])
def test_the_command_line_arrives(boot_linux, where):
    """Also from memory that the map calls free: it stays for as long as it is used."""
    guest = boot_linux("system-arguments", options=f"{where} env.COLOUR=blue", args="one 'two words'")
    assert guest.wait_end(30) == 0
    got = [line.strip()[10:-1] for line in guest.text.splitlines() if line.startswith("argument")]
    assert got == ["one", "two words"]
    assert "environment [COLOUR=blue]" in guest.text


@pytest.mark.parametrize("network", ["user", "tap"])
def test_redis_with_its_device_from_the_command_line(boot_linux, network):
    works(boot_linux("redis", network, machine_options=NO_TOKENS, options=DEVICE))


@pytest.mark.parametrize("wrong,says", [
    ("loader.signature=0", "rsi points at no zero page"),
    ("loader.version=523", "protocol version is below 2.12"),
    ("loader.entries=0", "holds no memory map"),
])
def test_a_wrong_zero_page_is_refused_in_one_line(boot_linux, wrong, says):
    guest = boot_linux("hello", options=wrong)
    assert guest.wait_end(30) == 1
    lines = guest.text.split("\n")
    assert says in lines[0] and not "".join(lines[1:]).strip()
