"""scripts/setup.sh where packages are missing, with Debian's tools replaced by ones that record."""

import os
import subprocess

from tests.system.conftest import ROOT

SETUP = ROOT / "scripts" / "setup.sh"


def run_setup(folder, dpkg_query, apt_get="exit 0"):
    for name, body in {"dpkg-query": dpkg_query, "apt-get": f'echo "$@" >>{folder}/apt; {apt_get}',
                       "id": "echo 0"}.items():
        tool = folder / name
        tool.write_text(f"#!/bin/bash\n{body}\n")
        tool.chmod(0o755)
    done = subprocess.run(["bash", SETUP], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
    asked = folder / "apt"
    return done.returncode, done.stdout, asked.read_text() if asked.exists() else ""


# As the real one: what it knows on stdout, and 1 if any package is unknown.
BARE = 'echo "installed g++"; echo "no packages found matching ninja-build" >&2; exit 1'


def test_missing_packages_are_installed(tmp_path):
    code, output, asked = run_setup(tmp_path, BARE)
    assert code == 0, output
    assert asked.startswith("-q update\n")
    assert " ninja-build " in asked and " qemu-system-x86 " in asked and " g++" not in asked


def test_without_network_it_says_so(tmp_path):
    code, output, _ = run_setup(tmp_path, BARE, apt_get="exit 100")
    assert code != 0 and "network" in output


def test_complete_means_nothing_to_do(tmp_path):
    everything = 'shift 3; for p in "$@"; do echo "installed $p"; done'
    code, output, asked = run_setup(tmp_path, everything)
    assert code == 0 and asked == "" and "installed already" in output
