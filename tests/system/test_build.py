"""What the build promises: the same bytes from the same commit, wherever it lies."""

import os
import re
import shutil
import subprocess

import pytest

from tests.system.conftest import ROOT


def clone_and_build(folder, *apps):
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, folder], check=True)
    # What is being tested may not be committed yet.
    changes = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT, check=True,
                             capture_output=True).stdout
    if changes:
        subprocess.run(["git", "apply"], cwd=folder, input=changes, check=True)
    for app in apps:
        # The times of files are in the image, and git does not keep them.
        for path in (ROOT / "apps" / app).rglob("*"):
            times = path.lstat()
            os.utime(folder / path.relative_to(ROOT), ns=(times.st_atime_ns, times.st_mtime_ns),
                     follow_symlinks=False)
        done = subprocess.run(["make", "-s", "image", f"APP={app}"], cwd=folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout[-3000:]


def assert_same(app, folder, name):
    assert app(name).image.read_bytes() == (folder / f"build/{name}/{name}.elf").read_bytes()


def test_a_clone_elsewhere_builds_the_same_hello(app, tmp_path):
    clone = tmp_path / "some where else"
    clone_and_build(clone, "hello")
    assert_same(app, clone, "hello")


@pytest.mark.full
def test_a_clone_elsewhere_builds_the_same_redis(app, tmp_path):
    clone_and_build(tmp_path / "clone", "redis")
    assert_same(app, tmp_path / "clone", "redis")


def test_nothing_of_this_machine_is_in_the_image(app):
    for name in ("hello", "redis"):
        image = app(name).image.read_bytes()
        assert str(ROOT).encode() not in image
        assert b"/.cache/oblako" not in image


def test_the_kernel_may_not_lean_on_the_applications_libraries(tmp_path):
    """128-bit division is a call into libgcc, which lies in the application's half: an interrupt in it
    would be taken for one in application code, and its frame put over the live kernel stack."""
    source = "unsigned __int128 f(unsigned __int128 a, unsigned __int128 b) { return a / b; }"
    (tmp_path / "divide.c").write_text(source)
    subprocess.run(["gcc", "-O2", "-c", "divide.c", "-o", "divide.o"], cwd=tmp_path, check=True)
    done = subprocess.run([ROOT / "scripts/make_kernel_archive.sh", tmp_path / "libkernel.a",
                           ROOT / "arch/x64/kernel_symbols.txt", tmp_path / "divide.o"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode != 0 and "__udivti3" in done.stdout
    assert not (tmp_path / "libkernel.a").exists()


def make_image(folder, app):
    done = subprocess.run(["make", "image", f"APP={app}"], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def test_an_unknown_application_is_answered_with_those_there_are(app):
    app("hello")
    status, output = make_image(ROOT, "no-such")
    assert status != 0
    assert "there is no application 'no-such'; there are: hello httpd" in output


@pytest.fixture
def broken_recipe(app):
    app("hello")
    folder = ROOT / "apps" / "test-broken-recipe"
    folder.mkdir()

    def write(text):
        (folder / "recipe.cmake").write_text(text)

    yield write
    shutil.rmtree(folder)
    make_image(ROOT, "hello")


@pytest.mark.parametrize("text, complaint", [
    ("oblako_app(NAME test-broken-recipe SOURCES a.c", "Parse error"),
    ("oblako_app(NAME test-broken-recipe SOURCES a.c)", "a.c is not there"),
    ("oblako_app(NAME hello SOURCES hello.c)", "SOURCES"),
    ("oblako_app(NAME test-broken-recipe FETCH nothing BUILD make PRODUCT a)", "no line for nothing"),
    ("oblako_app(NAME test-broken-recipe PROT 5)", "PROT"),
])
def test_a_broken_recipe_breaks_its_own_application_only(broken_recipe, text, complaint):
    broken_recipe(text)
    status, output = make_image(ROOT, "hello")
    assert status == 0, output
    status, output = make_image(ROOT, "test-broken-recipe")
    assert status != 0 and complaint in output.replace("\n ", ""), output


def test_the_documents_say_what_the_build_says(app):
    numbers = re.search(r"\S+/lib/syscalls\.txt", (ROOT / "build/cmake/build.ninja").read_text())[0]
    report = subprocess.run([ROOT / "scripts/report_syscalls.py", app("redis").symbols, numbers],
                            text=True, capture_output=True, check=True).stdout.splitlines()[0]
    assert f"\n    {report}\n" in (ROOT / "docs/adding-an-app.md").read_text()
