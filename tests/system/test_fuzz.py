"""The fuzzers: what is in tests/fuzz/seeds, and some seconds of what follows from it. An hour of
one of them, NAME being receive, icmp6, dhcp, netlink or dns:

    cmake --build build/cmake --target fuzzers && mkdir -p build/fuzz/corpus-NAME &&
    build/fuzz/fuzz_NAME build/fuzz/corpus-NAME tests/fuzz/seeds/NAME -max_len=1024 \\
        -max_total_time=3600 -artifact_prefix=build/fuzz/
"""

import shutil
import subprocess

import pytest

from tests.system.conftest import ROOT

BUILD = ROOT / "build" / "fuzz"
SEEDS = ROOT / "tests" / "fuzz" / "seeds"
# How many seconds of each are part of every run of the tests.
FUZZERS = {"receive": 12, "icmp6": 2, "dhcp": 2, "netlink": 2, "dns": 2}


@pytest.fixture(scope="module", autouse=True)
def built():
    if not shutil.which("clang++"):
        pytest.skip("not run: needs clang")
    done = subprocess.run(["cmake", "--build", ROOT / "build" / "cmake", "--target", "fuzzers"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]


def run(name, *arguments, timeout):
    done = subprocess.run([BUILD / f"fuzz_{name}", *arguments], text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.mark.parametrize("name", FUZZERS)
def test_seeds(name):
    seeds = sorted((SEEDS / name).iterdir())
    assert len(seeds) >= 5
    run(name, *seeds, timeout=300)


@pytest.mark.parametrize("name", FUZZERS)
def test_some_seconds(name, tmp_path):
    """The same inputs every time, as many as there is time for."""
    output = run(name, tmp_path, SEEDS / name, "-seed=1", "-max_len=1024",
                 f"-max_total_time={FUZZERS[name]}", f"-artifact_prefix={tmp_path}/", timeout=300)
    assert "Done" in output


@pytest.mark.full
@pytest.mark.parametrize("name", FUZZERS)
def test_an_hour(name, tmp_path):
    run(name, tmp_path, SEEDS / name, "-max_len=1024", "-max_total_time=3600",
        f"-artifact_prefix={BUILD}/", timeout=4000)
