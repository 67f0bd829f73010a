"""The counting plugin itself, on guests that execute a known number of instructions."""

import json
import subprocess

from tests.system.conftest import ROOT

from bench.count import Accesses

BENCH = ROOT / "build" / "bench"


def count(guest, out, *marks, extra=()):
    plugin = f"{BENCH}/libinsn_count.so,out={out}" + "".join(f",{m}" for m in marks)
    command = ["qemu-system-x86_64", "-M", "microvm,acpi=off", "-accel", "tcg", "-m", "16",
               "-nodefaults", "-display", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0x501", "-kernel", BENCH / guest,
               "-plugin", plugin, *extra]
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


def test_device_accesses_after_the_firmware_are_counted(tmp_path):
    trace = ("-D", tmp_path / "log", "-d", "plugin", "-trace", "memory_region_ops_read",
             "-trace", "memory_region_ops_write")
    count("null_guest", tmp_path / "out", f"at=entry:{address('null_guest', '_start')}", "log=1",
          extra=trace)
    figures = Accesses((tmp_path / "log").read_text()).figures()
    assert figures.pop("firmware") > 10
    assert figures == {"total": 1, "to main": None, "console bytes": 0,
                       "devices": {"isa-debug-exit": 1}}


def test_a_string_of_bytes_for_the_console_is_one_access():
    line = "memory_region_ops_{} cpu 0 mr 0x1 addr {} value 0x41 size 1 name '{}'"
    serial = line.format("write", "0x3f8", "serial")
    log = [serial, "mark entry", serial, serial, line.format("read", "0x3fd", "serial"), serial,
           "mark main", line.format("write", "0x21", "pic")]
    figures = Accesses("\n".join(log)).figures()
    assert figures == {"total": 4, "firmware": 1, "to main": 3, "console bytes": 3,
                       "devices": {"serial": 3, "pic": 1}}


def test_pages_and_translated_blocks_are_counted(tmp_path):
    lines = count("counted_guest", tmp_path / "out",
                  f"at=start:{address('counted_guest', '_start')}", "pages=1")
    start, last = lines["start"], lines["exit"]
    assert last["blocks"] > start["blocks"] > 0
    # The page that `rep stosb` writes to; that of the code is counted when it is translated.
    assert last["pages"] - start["pages"] == 1
