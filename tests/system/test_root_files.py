"""What a folder of files may hold comes into the image as it is: odd names, links to anywhere, times."""

import os
import re
import shutil
import subprocess

import pytest

from tests.system.conftest import ROOT
from vmkit import vm

NAME = "test-root-files"
LIST = r"""
#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void hex(const char* s) {
  for (; *s; ++s)
    printf("%02x", (unsigned char)*s);
}

static int each(const char* path, const struct stat* s, int kind, struct FTW* at) {
  (void)kind, (void)at;
  char target[4096] = "";
  if (!strcmp(path, "/files"))
    return 0;
  if (S_ISLNK(s->st_mode))
    readlink(path, target, sizeof target - 1);
  printf("%o ", s->st_mode & S_IFMT);
  hex(path + 7);
  printf(" %ld ", (long)s->st_mtime);
  hex(target);
  puts("$");
  return 0;
}

int main(void) {
  return nftw("/files", each, 100, FTW_PHYS);
}
"""
DEEP = "/".join(str(n) for n in range(70))
FILES = ["plain", "a;b", "a\\b", 'a"b', "a'b", "a b ", " ", "$HOME", "${x}", "$<1>", "a,b", "#", "[x]", "*", "-r",
         "new\nline", "t\tab", "(", "&&", "\u00e9", b"\xff\x80".decode(errors="surrogateescape"), "n" * 255,
         f"{DEEP}/f"]
LINKS = {"absolute": "/files/plain", "nowhere": "not there", "itself": "itself", "odd": 'a;b"\\', "up": "../../.."}


@pytest.fixture
def recipe(app):
    """(folder of files, build()) of an application that lists them."""
    app("hello")
    folder = ROOT / "apps" / NAME
    files = folder / "root" / "files"
    files.mkdir(parents=True)
    (folder / "list.c").write_text(LIST)
    (folder / "recipe.cmake").write_text(f"oblako_app(NAME {NAME} SOURCES list.c ROOT root MEMORY 32)\n")

    def build(name=NAME, **environment):
        done = subprocess.run(["make", "image", f"APP={name}"], cwd=ROOT, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                              env={**os.environ, **environment})
        return done.returncode, done.stdout

    yield files, build
    shutil.rmtree(folder)
    build("hello")


def listing(boot):
    image = vm.BUILD / NAME / f"{NAME}.elf"
    guest = boot("hello", image=image, memory=32)
    assert guest.wait_end(30) == 0, guest.text
    return {bytes.fromhex(path): (int(kind, 8), int(time), bytes.fromhex(target))
            for kind, path, time, target in re.findall(r"([0-7]+) ([0-9a-f]+) (\d+) ([0-9a-f]*)\$", guest.text)}


def test_names_links_and_times_come_as_they_are(recipe, boot):
    files, build = recipe
    for n, name in enumerate(FILES):
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (0, 1_000_000_000 + n))
    for name, target in LINKS.items():
        (files / name).symlink_to(target)
    status, output = build("hello")
    assert status == 0, output
    status, output = build()
    assert status == 0, output
    found = listing(boot)
    regular = {path: time for path, (kind, time, _) in found.items() if kind == 0o100000}
    assert regular == {os.fsencode(name): 1_000_000_000 + n for n, name in enumerate(FILES)}
    links = {path: target for path, (kind, _, target) in found.items() if kind == 0o120000}
    assert links == {os.fsencode(name): os.fsencode(target) for name, target in LINKS.items()}
    folders = {path for path, (kind, _, _) in found.items() if kind == 0o040000}
    assert folders == {os.fsencode(DEEP)[:n] for n, c in enumerate(os.fsencode(DEEP)) if c == 47} | {os.fsencode(DEEP)}

    # A change is seen, nothing else is done again, and no time is later than the one that is given.
    image = vm.BUILD / NAME / f"{NAME}.elf"
    before = image.stat().st_mtime_ns
    status, output = build()
    assert status == 0 and image.stat().st_mtime_ns == before, output
    (files / "a;b").unlink()
    status, output = build(SOURCE_DATE_EPOCH="1000000003")
    assert status == 0, output
    found = listing(boot)
    assert b"a;b" not in found and found[b'a"b'][1] == found[b" "][1] == found[b"absolute"][1] == 1_000_000_003
    assert found[b"plain"][1] == 1_000_000_000


def test_what_cannot_be_packed_is_named_and_harms_nobody_else(recipe):
    files, build = recipe
    os.mkfifo(files / "a\npipe")
    assert build("hello")[0] == 0
    status, output = build()
    assert status != 0
    assert r"files/a\npipe is neither a file, a folder nor a symbolic link" in output
    assert "Traceback" not in output
    status, output = build(SOURCE_DATE_EPOCH="yesterday")
    assert status != 0 and "SOURCE_DATE_EPOCH is seconds since 1970, not 'yesterday'" in output
