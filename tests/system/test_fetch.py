"""scripts/fetch.sh with an archive of our own: programs named apt-get and apt-cache that stand for it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.system.conftest import ROOT

NAME = "zlib"


def entry():
    for line in (ROOT / "scripts" / "sources.txt").read_text().splitlines():
        if line.split()[:1] == [NAME]:
            return line.split()
    raise AssertionError(f"{NAME} is not in sources.txt")


@pytest.fixture
def fetch(tmp_path):
    """fetch(versions the archive lists, those it really has) -> (status, output)"""
    _, _, package, tarball, sha = entry()
    home = Path(os.environ.get("OBLAKO_CACHE") or
                Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oblako")
    original = home / "sources" / tarball
    assert original.exists(), "the build fetched it"
    programs = tmp_path / "bin"
    programs.mkdir()

    def program(name, text):
        (programs / name).write_text("#!/bin/bash\n" + text)
        (programs / name).chmod(stat.S_IRWXU)

    def run(listed, there):
        records = "".join(f"Version: {v}\nChecksums-Sha256:\n {sha} 1 {tarball}\n\n" for v in listed)
        program("apt-cache", f"cat <<'END'\n{records}END\n")
        program("apt-get", 'case "${@: -1}" in update) exit 0;;\n' +
                "".join(f"{package}={v}) cp '{original}' . ; exit 0;;\n" for v in there) +
                "esac\necho 'E: 404 Not Found' ; exit 100\n")
        done = subprocess.run([ROOT / "scripts" / "fetch.sh", NAME], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                              env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}",
                                                "OBLAKO_CACHE": str(tmp_path / "cache")})
        return done.returncode, done.stdout

    return run


def test_the_newest_revision_is_taken(fetch):
    status, output = fetch(["1-2", "1-3"], ["1-2", "1-3"])
    assert status == 0 and "=1-3" in output and "=1-2" not in output


def test_an_older_revision_where_the_newest_is_listed_only(fetch):
    status, output = fetch(["1-2", "1-3"], ["1-2"])
    assert status == 0, output
    assert output.index("=1-3") < output.index("=1-2")


def test_no_revision_at_all_is_an_error_that_says_so(fetch):
    status, output = fetch(["1-2"], [])
    assert status != 0 and "404" in output and "cannot be fetched" in output
    status, output = fetch([], [])
    assert status != 0 and "no archive offers it" in output
