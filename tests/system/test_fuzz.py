"""The receive path under the fuzzer: what is in tests/fuzz/seeds, and some seconds of what follows
from it. An hour:

    cmake --build build/cmake --target fuzz_receive && mkdir -p build/fuzz/corpus &&
    build/fuzz/fuzz_receive build/fuzz/corpus tests/fuzz/seeds -max_len=1024 -max_total_time=3600
"""

import shutil
import subprocess

import pytest

from tests.system.conftest import ROOT

FUZZER = ROOT / "build" / "fuzz" / "fuzz_receive"
SEEDS = ROOT / "tests" / "fuzz" / "seeds"


@pytest.fixture(scope="module")
def fuzzer():
    if not shutil.which("clang++"):
        pytest.skip("not run: needs clang")
    done = subprocess.run(["cmake", "--build", ROOT / "build" / "cmake", "--target",
                           "fuzz_receive"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    return FUZZER


def run(*command, timeout):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def test_seeds(fuzzer):
    seeds = sorted(SEEDS.iterdir())
    assert len(seeds) >= 28
    run(fuzzer, *seeds, timeout=300)


def test_some_seconds(fuzzer, tmp_path):
    """The same inputs every time, as many as there is time for."""
    output = run(fuzzer, tmp_path, SEEDS, "-seed=1", "-max_len=1024", "-max_total_time=20",
                 f"-artifact_prefix={tmp_path}/", timeout=300)
    assert "Done" in output


@pytest.mark.full
def test_an_hour(fuzzer, tmp_path):
    run(fuzzer, tmp_path, SEEDS, "-max_len=1024", "-max_total_time=3600",
        f"-artifact_prefix={ROOT}/build/fuzz/", timeout=4000)
