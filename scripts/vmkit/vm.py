"""Virtual machines: how QEMU is called for each kind of machine, and what its exit status means."""

import ctypes
import json
import signal
import subprocess
import time
import zlib
from pathlib import Path

from vmkit import kvm

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"

# name: (QEMU machine, are virtio devices on the virtio-mmio bus)
MACHINES = {
    "microvm": ("microvm,acpi=off", True),
    "microvm-acpi": ("microvm,acpi=on", True),
    "q35": ("q35", False),
    "pc": ("pc", False),
}

PR_SET_PDEATHSIG = 1

# What QEMU takes on a quiet host from its start to the guest's first instruction: the guest learns
# the time from its command line (unless there is kvmclock), which is written before.
STARTUP = 0.03


class App:
    """An application as the build left it: build/NAME/{NAME.elf,NAME.elf.debug,app.json}."""

    def __init__(self, name, build=BUILD):
        self.name = name
        folder = Path(build) / name
        self.image = folder / f"{name}.elf"
        debug = folder / f"{name}.elf.debug"
        self.symbols = debug if debug.exists() else self.image
        if not self.image.exists():
            raise FileNotFoundError(f"{self.image} is not there: make image APP={name}")
        recipe = folder / "app.json"
        about = json.loads(recipe.read_text()) if recipe.exists() else {}
        self.port = int(about.get("port") or 0) or None  # in the guest
        probe = about.get("probe") or ("tcp" if self.port else "none")
        self.probe = None if probe == "none" else probe
        self.memory = int(about.get("memory") or 128)  # MB
        linked = folder / "image.json"
        # MB that hold the image alone; what the application asks for comes on top.
        self.least_memory = json.loads(linked.read_text())["least_memory_mb"] if linked.exists() else 1


def accelerator(wanted=None):
    """(name, why not KVM or None). KVM only where the processor has it, we may use it and a small
    guest has run under it."""
    if wanted:
        return wanted, None
    if reason := kvm.offered():
        return "tcg", reason
    trial = kvm.trial()
    return ("kvm", None) if trial.complete else ("tcg", trial.why)


def processor(accel, wanted=None):
    """The value of -cpu."""
    return kvm.model_for(wanted) if accel == "kvm" else wanted or "max"


def mac_for(name):
    """A locally administered address that differs between machines on one network."""
    h = zlib.crc32(name.encode())
    return "52:54:%02x:%02x:%02x:%02x" % (h >> 24 & 255, h >> 16 & 255, h >> 8 & 255, h & 255)


def tap_network(interface):
    return f"tap,id=net0,ifname={interface},script=no,downscript=no"


def qemu_command(image, *, machine="microvm", accel="tcg", memory=128, cpus=1, cpu=None,
                 netdev=None, nic="", mac="52:54:00:12:34:56", append="", rng=False, extra=()):
    """The command line. The serial console is on stdin and stdout. `nic`: more properties of the
    network device, as "csum=off,mrg_rxbuf=off"."""
    kind, mmio = MACHINES[machine]
    bus = "device" if mmio else "pci"
    command = ["qemu-system-x86_64", "-machine", kind, "-accel", accel,
               "-cpu", processor(accel, cpu),
               "-m", str(memory), "-smp", str(cpus), "-nodefaults", "-no-user-config",
               "-display", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0x501",
               "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
               "-kernel", str(image), "-append", append]
    if mmio:
        command += ["-global", "virtio-mmio.force-legacy=false"]
    if netdev:
        command += ["-netdev", netdev, "-device", f"virtio-net-{bus},netdev=net0,mac={mac}" + (f",{nic}" if nic else "")]
    if rng:
        command += ["-device", f"virtio-rng-{bus}"]
    return command + list(extra)


def command_line(options, arguments):
    """The kernel's command line: our options, `--`, the application's arguments, which go behind
    those of its recipe."""
    clock = []
    if not any(o.startswith("clock=") for o in options):
        clock = ["clock=%.6f" % (time.time() + STARTUP)]
    line = " ".join(clock + list(options))
    return f"{line} -- {arguments}" if arguments else line


def _before_exec():
    # QEMU must not outlive us, however we end.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, **kwargs):
    """QEMU in a session of its own, so that ^C on our terminal is ours to pass on."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True,
                            preexec_fn=_before_exec, bufsize=0, **kwargs)


# What isa-debug-exit is given for success (arch/x64/power.cc), and QEMU's exit status from it.
SUCCESS_VALUE = 90
SUCCESS = SUCCESS_VALUE * 2 + 1
NOT_STARTED = 1  # QEMU's exit status for what it cannot do; no image makes it end with that
# Our status for a machine that ended without a word: it was reset.
RESET = 71  # EX_OSERR


def was_reset(code, machine):
    """True for QEMU's exit status 0 where no image ends in order like that: a triple fault. With ACPI
    0 is a power-off in order."""
    return code == 0 and "acpi=off" in MACHINES[machine][0]


def exit_status(code, machine="microvm"):
    """The application's exit status from QEMU's. A value v written to isa-debug-exit makes QEMU end
    with 2v+1 (8 bits). 1 is also QEMU's own failure to start, and no image writes a 0, so that
    stays 1."""
    if was_reset(code, machine):
        return RESET
    if code == SUCCESS:
        return 0
    if code < 0:
        return 128 - code
    if code > 1 and code % 2 == 1:
        return (code - 1) // 2
    return code
