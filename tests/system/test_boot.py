"""The boot timeline on the console, its symbols for counting, and the boot benchmark."""

import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from tests.system.conftest import ROOT, skip_without_tap
from tests.system.guest import Guest

# An image without a clock, like hello's, has no microseconds to tell.
LINE = re.compile(r"oblako: boot: (\w+) +(\d+) ticks(?: +(\d+) us)?\r?\n")
TO_MAIN = ["entry", "long_mode", "memory", "sections", "options", "threads", "devices", "network",
           "application", "main"]


def timeline(guest):
    """[(stage, ticks)] as printed."""
    return [(m[1], int(m[2])) for m in LINE.finditer(guest.text)]


def in_order(stages, names):
    assert [name for name, _ in stages] == names
    ticks = [t for _, t in stages]
    assert ticks[0] == 0 and ticks == sorted(ticks) and ticks[-1] > 0


def test_the_stages_of_hello_come_in_order(boot):
    guest = boot("hello", options="boot.trace")
    assert guest.wait_end() == 0
    in_order(timeline(guest), [*TO_MAIN, "end"])
    assert guest.text.index("boot: main") < guest.text.index("hello") < guest.text.index("boot: end")


def test_nothing_is_printed_without_the_option(boot):
    guest = boot("hello")
    assert guest.wait_end() == 0
    assert "boot:" not in guest.text


def test_a_server_goes_on_to_listen_and_to_answer(boot):
    guest = boot("redis", "tap", options="boot.trace")
    guest.wait_console("boot: listen")
    assert "boot: answer" not in guest.text
    guest.wait_console("Ready to accept connections")
    with guest.redis() as redis:
        assert redis.call("PING") == "PONG"
        guest.wait_console("boot: answer")
        assert redis.call("PING") == "PONG"
    guest.interrupt()
    assert guest.wait_end(20) == 0
    in_order(timeline(guest), [*TO_MAIN, "listen", "answer", "end"])


@pytest.mark.full
def test_hello_boots_a_thousand_times(app):
    for i in range(1000):
        guest = Guest(app("hello"), limit=60)
        try:
            assert (guest.wait_end(), guest.text) == (0, "hello from oblako\n"), f"boot {i}"
        finally:
            guest.kill()


@pytest.mark.full
def test_redis_boots_two_hundred_times(app, namespace_with_tap):
    for i in range(200):
        guest = Guest(app("redis"), network=namespace_with_tap, limit=60)
        try:
            guest.wait_redis()
        except AssertionError as error:
            raise AssertionError(f"boot {i}") from error
        finally:
            guest.kill()


def test_every_instruction_belongs_to_a_stage(app, tmp_path):
    app("hello")
    out = tmp_path / "figures.json"
    subprocess.run([ROOT / "bench" / "count.py", "hello", "--stages", "--json", out], check=True,
                   timeout=120)
    stages = json.loads(out.read_text())["stages"]
    assert [s["stage"] for s in stages] == [*TO_MAIN, "end", "power-off"]
    assert all(s["insns"] > 0 for s in stages)
    assert all(s[k] >= 0 for s in stages for k in ("accesses", "faults", "pages"))
    # puts touches the heap or a buffer at least once, and writes to the console once.
    of = {s["stage"]: s for s in stages}
    assert of["end"]["accesses"] == 1
    assert sum(s["faults"] for s in stages) > 0


def bench_boot(tmp_path, *options, timeout=300):
    report, picture = tmp_path / "boot.json", tmp_path / "boot.svg"
    subprocess.run(["cmake", "--build", ROOT / "build" / "cmake", "--target", "boot_bench",
                    "insn_count"], check=True, stdout=subprocess.DEVNULL, timeout=300)
    done = subprocess.run([ROOT / "bench" / "bench_boot.py", *options, "--repetitions", "1",
                           "--accel", "tcg",
                           "--report", report, "--picture", picture], text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout)
    assert done.returncode == 0
    runs = {b["run_name"].split("/iterations")[0]: b
            for b in json.loads(report.read_text())["benchmarks"]}
    assert not [b for b in runs.values() if b.get("error_occurred")]
    return runs, picture


COUNTS = {"insns", "blocks", "device_accesses", "image_bytes", "qemu_peak_kB", "qemu_cpu_ms"}


def test_the_benchmark_reports_every_figure(app, tmp_path):
    skip_without_tap()
    app("hello")
    app("redis")
    runs, picture = bench_boot(tmp_path, "hello", "redis", "--linux", "none")
    assert set(runs) == {"null", "oblako/hello", "oblako/redis"}
    first = "to_first_instruction_ms"
    assert {first, "to_power_off_ms", *COUNTS} <= set(runs["null"])
    assert {first, "to_main_ms", "to_power_off_ms", *COUNTS} <= set(runs["oblako/hello"])
    redis = runs["oblako/redis"]
    assert {first, "to_main_ms", "to_listen_ms", "to_answer_ms", *COUNTS} <= set(redis)
    assert 0 < redis[first] < redis["to_main_ms"] < redis["to_listen_ms"]
    assert redis["insns_to_main"] < redis["insns_to_listen"] < redis["insns"]
    assert runs["null"]["insns"] < runs["oblako/hello"]["insns"] < redis["insns"]

    drawing = ElementTree.parse(picture).getroot()
    text = " ".join(e.text or "" for e in drawing.iter())
    assert drawing.tag.endswith("svg")
    assert {"hello", "redis", "threads", "network"} <= set(re.findall(r"\w+", text))


@pytest.mark.full
def test_a_small_linux_is_built_and_measured_beside(app, tmp_path):
    app("hello")
    runs, _ = bench_boot(tmp_path, "hello", "--linux", "tiny", timeout=3000)
    linux = runs["linux-tiny/hello"]
    assert {"to_first_instruction_ms", "to_main_ms", "to_power_off_ms", *COUNTS} <= set(linux)
    assert linux["insns"] > 100 * runs["oblako/hello"]["insns"]


def test_systems_of_a_users_own_are_measured_beside_ours(app, tmp_path):
    app("hello")
    null = ROOT / "build" / "bench" / "null_guest"
    listing = tmp_path / "systems.json"
    listing.write_text(json.dumps([{
        "name": "other/null", "files": [str(null)],
        "qemu": ["-M", "microvm,acpi=off", "-accel", "tcg", "-m", "16", "-nodefaults",
                 "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0x501",
                 "-kernel", str(null)]}]))
    runs, _ = bench_boot(tmp_path, "hello", "--linux", "none", "--systems", listing)
    assert runs["other/null"]["insns"] == pytest.approx(runs["null"]["insns"], rel=0.2)
    assert runs["other/null"]["image_bytes"] == null.stat().st_size
