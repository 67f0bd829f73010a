"""The counting plugin itself, on guests that execute a known number of instructions."""

import json
import subprocess

from tests.system.conftest import ROOT

BENCH = ROOT / "build" / "bench"


def count(guest, out, *marks):
    plugin = f"{BENCH}/libinsn_count.so,out={out}" + "".join(f",{m}" for m in marks)
    command = ["qemu-system-x86_64", "-M", "microvm,acpi=off", "-accel", "tcg", "-m", "16",
               "-nodefaults", "-display", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0x501", "-kernel", BENCH / guest,
               "-plugin", plugin]
    assert subprocess.run(command, timeout=20).returncode == 1
    return {line["event"]: line for line in map(json.loads, out.read_text().splitlines())}


def address(guest, name):
    listing = subprocess.run(["nm", BENCH / guest], text=True, capture_output=True).stdout
    return next(line.split()[0] for line in listing.splitlines() if line.endswith(f" {name}"))


def test_loop_rep_and_idle_are_counted_apart(tmp_path):
    at = {name: address("counted_guest", name) for name in ("_start", "idle", "idle_end", "finish")}
    lines = count("counted_guest", tmp_path / "out", f"idle={at['idle']}:{at['idle_end']}",
                  f"at=start:{at['_start']}", f"at=finish:{at['finish']}")
    ran = {k: lines["finish"][k] - lines["start"][k] for k in ("insns", "rep_repeats", "idle")}
    assert ran == {"insns": 1 + 2000 + 3 + 1, "rep_repeats": 500, "idle": 200}


def test_the_limit_is_the_firmware(tmp_path):
    lines = count("null_guest", tmp_path / "out", f"at=start:{address('null_guest', '_start')}")
    assert lines["exit"]["insns"] - lines["start"]["insns"] == 4
    assert lines["start"]["insns"] < 6000
