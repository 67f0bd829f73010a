#!/usr/bin/env python3
"""Checks every #include of ours against the layers: check_layers.py [ROOT]

A folder may include what its rule names, and itself. Includes are written from the repository
root. A header whose opening comment says "Private to FOLDER" is for that folder alone.
"""

import re
import sys
from pathlib import Path

DRIVERS_MAY = ["core/base/", "core/boot/options.hh", "core/log/", "core/mem/", "core/net/device.hh",
               "core/net/poller.hh", "core/posix/console_file.hh", "core/random/", "core/sched/",
               "core/time/", "arch/x64/"]

# Longest match decides. What a rule allows: folders (ending in /) and single headers.
RULES = {
    # No globals, no assembly, compiles on the host.
    "core/base/": [],
    # The only assembly and the only privileged instructions. Upwards it sees core/base and these
    # headers: what a trap, a crash report and the page tables need of the portable side.
    "arch/x64/": ["core/base/", "core/arch_upcalls.hh", "core/boot/", "core/log/", "core/mem/",
                  "core/sched/", "core/time/clock.hh"],
    # The portable library OS: siblings and the public headers of arch.
    "core/": ["core/", "arch/x64/"],
    # lwIP is one of core/net's own matters.
    "core/net/": ["core/", "arch/x64/", "lwip/", "netif/"],
    # Starts everything, in order: the one file that knows all.
    "core/boot/": ["core/", "arch/x64/", "drivers/"],
    # One file a device; never another device, never the libc.
    "drivers/": DRIVERS_MAY,
    # A bus is not a device: virtio's PCI transport sits on it.
    "drivers/virtio/": DRIVERS_MAY + ["drivers/pci/"],
    # The overlay, overrides and the C++ runtime's glue.
    "libc/": ["core/posix/"],
    # Nothing of ours.
    "apps/": [],
    "tests/": ["arch/", "bench/", "core/", "drivers/", "libc/", "tests/"],
    "bench/": ["arch/", "bench/", "core/", "drivers/", "libc/", "tests/"],
}

# What core/base may take from outside: what exists without an operating system.
FREESTANDING = re.compile(
    r"(boost/intrusive/.*|std(def|int|arg|bool|align)\.h|limits\.h|errno\.h|string\.h|"
    r"algorithm|array|atomic|bit|compare|concepts|cstdarg|cstddef|cstdint|cstring|initializer_list|"
    r"iterator|limits|new|numeric|optional|span|string_view|tuple|type_traits|utility|variant|version)$")

SUFFIXES = {".c", ".cc", ".h", ".hh", ".S", ".s"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
PRIVATE = re.compile(r"\bprivate to ([\w/]+)", re.IGNORECASE)


def rule_for(path):
    matches = [folder for folder in RULES if path.startswith(folder)]
    return max(matches, key=len) if matches else None


def private_to(header):
    """The folder a header belongs to alone, or None."""
    with header.open(errors="replace") as f:
        opening = " ".join(line.strip().lstrip("/*# ") for _, line in zip(range(8), f))
    match = PRIVATE.search(opening)
    return match[1].rstrip("/") + "/" if match else None


def judge(root, path, kind, target):
    """What is wrong with one include, or None."""
    folder = rule_for(path)
    own = path.rpartition("/")[0] + "/"
    if kind == "<":
        if folder == "core/base/" and not FREESTANDING.match(target):
            return "core/base takes only freestanding headers and Boost.Intrusive"
        return None
    if not (root / target).exists():
        if (root / own / target).exists():
            if folder in ("libc/", "apps/", "tests/", "bench/"):
                return None  # built apart from the kernel, without the root in the path
            return "write includes from the repository root"
        target_is_ours = target.split("/")[0] in ("arch", "core", "drivers")
        return "no such file" if target_is_ours else None
    owner = private_to(root / target)
    if owner and not path.startswith(owner) and not path.startswith(("tests/", "bench/")):
        return f"private to {owner}"
    if target.startswith(own) or rule_for(target) == folder == "core/base/":
        return None
    if not any(target == allowed or allowed.endswith("/") and target.startswith(allowed)
               for allowed in RULES[folder] + [own]):
        return f"{folder} may not include it"
    return None


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    complaints = []
    count = 0
    for folder in ("arch", "core", "drivers", "libc", "apps", "tests", "bench"):
        for file in sorted((root / folder).rglob("*")):
            path = file.relative_to(root).as_posix()
            if file.suffix not in SUFFIXES or not file.is_file() or rule_for(path) is None:
                continue
            count += 1
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
                match = INCLUDE.match(line)
                wrong = match and judge(root, path, match[1], match[2])
                if wrong:
                    complaints.append(f"{path}:{number}: {match[2]}: {wrong}")
    print("\n".join(complaints + [f"layers: {len(complaints)} wrong includes"]) if complaints
          else f"layers: ok, {count} files")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
