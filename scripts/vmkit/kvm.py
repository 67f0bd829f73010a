"""May QEMU use KVM on this host, and with which processor? A small guest of its own tries it out.

Whether /dev/kvm opens says little. QEMU 7.2 refuses to start with `-cpu host` on processors by AMD
("failed to set MSR 0x10a"), KVM may be forbidden in a nested machine, and a KVM on a processor
without virtualisation interprets ring 0 and knows no vector instructions. A success is remembered
until the host boots again, so that a later `make run` does not pay for the trial."""

import functools
import json
import os
import re
import select
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

DEVICE = "/dev/kvm"
MEMORY_FILE = Path(__file__).resolve().parent.parent.parent / "build" / "kvm.json"
LIMIT = 20  # seconds that the trial may take on a busy host
# QEMU says this and stops the machine, but stays, when KVM meets an instruction it cannot interpret.
INTERNAL_ERROR = b"KVM internal error"

# MSR 0x10a is IA32_ARCH_CAPABILITIES, which processors by AMD do not have.
PLAIN, WITHOUT_MSR_10A = "host", "host,-arch-capabilities"

# The trial, 32-bit code as PVH enters it. 'K' on the console says that it runs; the status of a
# complete pass is that of no failure of QEMU's.
PASSED = 42
TRIAL_ADDRESS = 0x200000
TRIAL = bytes.fromhex(
    "66baf803 b04b ee"           # mov $0x3f8, %dx; mov $'K', %al; out %al, %dx
    "0f20e0 0d00060000 0f22e0"   # in CR4: OSFXSR and OSXMMEXCPT
    "660fefc0 f20f58c0"          # pxor %xmm0, %xmm0; addsd %xmm0, %xmm0
    "0fae1d00100000"             # stmxcsr 0x1000
    "66ba0105 b02a ee f4")       # mov $0x501, %dx; mov $42, %al; out %al, %dx; hlt


class Trial(NamedTuple):
    """What came of it. `starts`: not less than a null guest runs. `complete`: vector instructions
    too, so that every image does. `why`: the reason where one of them is False."""
    model: str
    starts: bool
    complete: bool
    why: str


def offered():
    """Why this host has no KVM that is worth a trial, or None."""
    flags = Path("/proc/cpuinfo").read_text().split()
    if "vmx" not in flags and "svm" not in flags:
        return "this processor offers no virtualisation"
    return opens()


def opens():
    """Why /dev/kvm cannot be used, or None."""
    if not os.path.exists(DEVICE):
        return f"there is no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"no rights on {DEVICE}"
    return None


def trial_image():
    """An ELF file of one segment with the note that names the entry."""
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", TRIAL_ADDRESS)  # XEN_ELFNOTE_PHYS32_ENTRY
    at, size = 0x1000, len(TRIAL)
    note_at = 64 + 2 * 56
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, TRIAL_ADDRESS, 64, 0, 0,
                         64, 56, 2, 0, 0, 0)
    segments = (struct.pack("<IIQQQQQQ", 1, 5, at, TRIAL_ADDRESS, TRIAL_ADDRESS, size, size, 0x1000) +
                struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4))
    return (header + segments + note).ljust(at, b"\0") + TRIAL


def run_trial(model):
    """(output, exit status or None if it had to be ended)"""
    with tempfile.NamedTemporaryFile(prefix="oblako-kvm-") as image:
        image.write(trial_image())
        image.flush()
        qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "microvm,acpi=off", "-accel", "kvm", "-cpu", model,
             "-m", "16", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-device", "isa-debug-exit,iobase=0x501", "-serial", "stdio", "-kernel", image.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, deadline = b"", time.monotonic() + LIMIT
        try:
            while INTERNAL_ERROR not in output:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([qemu.stdout], [], [], left)[0]:
                    return output, None
                piece = os.read(qemu.stdout.fileno(), 65536)
                if not piece:
                    return output, qemu.wait()
                output += piece
            return output, None
        finally:
            qemu.kill()
            qemu.wait()
            qemu.stdout.close()


def judge(model, output, status):
    if status == PASSED * 2 + 1:
        return Trial(model, True, True, "")
    starts = output.startswith(b"K")
    said = re.search(r"^qemu[^:\n]*: (?:error: )?(.+)$", output.decode(errors="replace"), re.MULTILINE)
    if INTERNAL_ERROR in output:
        reason = "it cannot interpret every instruction"
    elif said:
        reason = said[1]
    else:
        reason = "no answer" if status is None else f"QEMU ended with status {status}"
    return Trial(model, starts, False, reason if starts else f"not even a null guest starts: {reason}")


def models():
    """Processors to try, the likeliest first."""
    amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    return (WITHOUT_MSR_10A, PLAIN) if amd else (PLAIN, WITHOUT_MSR_10A)


def circumstances():
    """As long as these stay, so does the outcome. The device node is made anew with the module."""
    qemu = shutil.which("qemu-system-x86_64") or ""
    node = os.stat(DEVICE)
    return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), qemu,
            os.stat(qemu).st_mtime_ns, node.st_dev, node.st_ino]


def remembered(now):
    try:
        found = json.loads(MEMORY_FILE.read_text())
        return Trial(found["model"], True, True, "") if found["for"] == now else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(now, trial):
    """A failure is not remembered: whoever mends the host shall see it at once."""
    try:
        MEMORY_FILE.parent.mkdir(exist_ok=True)
        new = MEMORY_FILE.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"for": now, "model": trial.model}))
        new.replace(MEMORY_FILE)
    except OSError:
        pass  # a build folder of somebody else's: the next run tries again


@functools.cache
def trial():
    """What KVM does on this host. The first call of a boot of the host starts QEMU for it."""
    if reason := opens():
        return Trial(PLAIN, False, False, reason)
    try:
        now = circumstances()
    except OSError as error:  # no QEMU
        return Trial(PLAIN, False, False, error.strerror)
    if known := remembered(now):
        return known
    outcomes = []
    for model in models():
        outcomes.append(judge(model, *run_trial(model)))
        if outcomes[-1].starts:
            break
    best = outcomes[-1] if outcomes[-1].starts else outcomes[0]
    if best.complete:
        remember(now, best)
    return best


def model_for(wanted):
    """QEMU's -cpu under KVM, with what the host needs. "max" is the host's processor there."""
    name, comma, features = (wanted or PLAIN).partition(",")
    return trial().model + comma + features if name in ("host", "max") else wanted
