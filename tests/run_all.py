#!/usr/bin/env python3
"""All tests, one after the other: layers, format, unit, guest, system. What `make check` calls
(--full: `make check-full`, hours). The last line is `N passed, N failed[, N skipped]`."""

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import run_guest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "cmake"
PYTHON = "/usr/bin/python3"  # Debian's, where Debian's pytest is


class Sum:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed, failed, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def heading(text):
    print(f"--- {text}", flush=True)


def one_check(total, *command):
    ok = subprocess.run(command, cwd=ROOT).returncode == 0
    total.add(ok, not ok)


def build(total, *targets):
    """Builds; a build that fails is a failed test, and says why."""
    if not (BUILD / "build.ninja").exists():
        done = subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            print(done.stdout[-4000:])
            total.add(0, 1)
            return False
    done = subprocess.run(["cmake", "--build", BUILD, "--target", *targets], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout[-6000:])
        total.add(0, 1)
    return done.returncode == 0


def unit(total):
    if not build(total, "unit_tests"):
        return
    for source in sorted((ROOT / "tests" / "unit").glob("*_test.cc")):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            try:
                done = subprocess.run(
                    [ROOT / "build" / "unit" / source.stem, "--gtest_brief=1",
                     f"--gtest_output=json:{report.name}"],
                    text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
                output, status = done.stdout, done.returncode
            except subprocess.TimeoutExpired as error:
                output, status = f"{error}", -1
            text = Path(report.name).read_text()
        counts = json.loads(text) if text else {"tests": 0, "failures": 0}
        failed = max(counts["failures"], 1 if status else 0)
        total.add(max(counts["tests"] - counts["failures"], 0), failed)
        print(f"unit {source.stem}: {'FAILED' if failed else 'ok'}, {counts['tests']} cases",
              flush=True)
        if failed:
            print(output[-6000:])


def system(total, full):
    report = ROOT / "build" / "system-tests.xml"
    report.unlink(missing_ok=True)
    status = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", f"--junitxml={report}",
         "tests/system"] + (["--full"] if full else []), cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}).returncode
    if not report.exists():
        total.add(0, 1)
        return
    suite = ElementTree.parse(report).getroot().find("testsuite")
    tests, bad, skipped = (int(suite.get(k)) for k in ("tests", "failures", "skipped"))
    bad += int(suite.get("errors"))
    total.add(tests - bad - skipped, max(bad, 1 if status not in (0, 5) else 0), skipped)


def main():
    total = Sum()
    started = time.monotonic()
    heading("layers and format")
    one_check(total, "scripts/check_layers.py")
    one_check(total, "scripts/format.sh", "--check")
    heading("unit tests")
    unit(total)
    heading("guest tests")
    if build(total, "guest_tests"):
        total.add(*run_guest.run_tests())
    heading("system tests")
    if build(total, "image-hello", "image-redis", "system_images", "insn_count", "boot_bench",
              "test_tools"):
        system(total, full="--full" in sys.argv)
    heading(f"{time.monotonic() - started:.0f} s")
    print(total)
    sys.exit(1 if total.failed or not total.passed else 0)


if __name__ == "__main__":
    main()
