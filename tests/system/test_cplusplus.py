"""C++ applications: their guest test finds the same on Linux, and they leave other images alone."""

import re
import subprocess

from tests import run_guest
from tests.system.conftest import ROOT

SOURCE = ROOT / "tests" / "guest" / "cplusplus.cc"


def cases(output):
    return re.findall(r"^(?:not )?ok \d+ - .*", output, re.MULTILINE)


def test_the_guest_finds_what_linux_finds(app, tmp_path):
    program = tmp_path / "cplusplus"
    subprocess.run(["g++", "-std=c++20", "-O1", "-pthread", "-o", program, SOURCE], check=True)
    native = subprocess.run([program], stdout=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path)
    assert native.returncode == 0, native.stdout
    app("guest-cplusplus")
    console, _, status = run_guest.boot("cplusplus", run_guest.headers(SOURCE))
    assert status == 0, console.decode(errors="replace")
    assert cases(console.decode().replace("\r", "")) == cases(native.stdout) != []


def test_frame_information_is_only_where_code_unwinds(app):
    for name, has in (("hello", False), ("guest-cplusplus", True)):
        sections = subprocess.run(["readelf", "-SW", app(name).symbols], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
        assert (" .eh_frame " in sections, " .eh_frame_hdr " in sections) == (has, has)


def test_the_kernel_keeps_its_own_instances_of_templates(tmp_path):
    """An application's instance of the same template is compiled with vector registers and comes first
    on the link line."""
    (tmp_path / "part.cc").write_text("template <class T> [[gnu::noinline]] T same(T t) { return t; }\n"
                                      "int part(int n) { return same(n); }\n")
    subprocess.run(["g++", "-c", "part.cc"], cwd=tmp_path, check=True)
    subprocess.run([ROOT / "scripts/make_kernel_archive.sh", tmp_path / "libkernel.a",
                    ROOT / "arch/x64/kernel_symbols.txt", tmp_path / "part.o"], check=True)
    names = subprocess.run(["nm", tmp_path / "libkernel.a"], check=True, stdout=subprocess.PIPE,
                           text=True).stdout
    assert " W _Z4sameIiET_S0_.kernel\n" in names and " W _Z4sameIiET_S0_\n" not in names
