"""What programs bring that an image has too, or that no linker script knows: it is linked as elsewhere."""

import shutil
import subprocess

import pytest

from tests.system.conftest import ROOT
from vmkit import vm

NAME = "test-linking"

SECTIONS = r"""
#include <stdio.h>
#include <stdlib.h>
#define PLACED(name) __attribute__((section(name), used))

/* As haproxy's initcalls: calls in the order of their stage. */
typedef void (*call)(void);
static void first(void) { puts("first"); }
static void second(void) { puts("second"); }
static const call a PLACED("init_STG_1") = first;
static call b PLACED("init_STG_2") = second;
extern const call __start_init_STG_1[], __stop_init_STG_1[], __start_init_STG_2[], __stop_init_STG_2[];
/* As CPython's runtime: a structure that debuggers find by its section. */
struct { char cookie[8]; int numbers[100]; } runtime PLACED(".PyRuntime") __attribute__((aligned(64))) = {"xpython", {1, 2}};
static int counter PLACED("read_mostly") = 42;
static const int table[4] PLACED("my_table") = {1, 2, 3, 4};
extern const int __start_my_table[], __stop_my_table[];
PLACED("my_code") __attribute__((noinline)) int in_my_code(int n) { return n + 1; }
__asm__(".section my_zeros, \"aw\", @nobits\n zeros: .skip 10000\n"
        ".section .tdata_of_mine, \"awT\", @progbits\n .p2align 3\n mine: .quad 7\n .previous");
extern char zeros[], __start_my_zeros[], __stop_my_zeros[];
extern __thread long mine __attribute__((tls_model("local-exec")));
__thread long usual = 5;

#define CHECK(what) do { if (!(what)) { printf("not %s\n", #what); return 1; } } while (0)
int main(void) {
  for (const call* c = __start_init_STG_1; c < __stop_init_STG_1; ++c) (*c)();
  for (const call* c = __start_init_STG_2; c < __stop_init_STG_2; ++c) (*c)();
  CHECK(runtime.numbers[1] == 2 && (unsigned long)&runtime % 64 == 0);
  runtime.numbers[99] = 5;
  CHECK(++counter == 43);
  CHECK(__stop_my_table - __start_my_table == 4 && __start_my_table[3] == 4);
  CHECK(in_my_code(1) == 2);
  CHECK(__stop_my_zeros - __start_my_zeros == 10000);
  for (int i = 0; i < 10000; ++i) CHECK(zeros[i] == 0);
  zeros[9999] = 1;
  CHECK(mine == 7 && usual == 5);
  char* heap = malloc(1 << 20);
  CHECK(heap && heap[12345] == 0);
  puts("all sections are there");
}
"""

NAMES = r"""
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Names of the kernel's, of its TCP and of dnsmasq's alike. */
int do_poll(int t) { return t + 1; }
int tcp_connect = 5, netif_list[1000];
void* mem_malloc(int n) { return n ? (void*)0 : (void*)1; }
long sys_read(int a, void* b, long c) { (void)a, (void)b, (void)c; return -77; }
int boot_main(void) { return 9; }
int memp_free(int n) { return n * 2; }

int main(void) {
  char text[6] = "";
  int fd = open("/etc/words", O_RDONLY);
  int udp = socket(AF_INET, SOCK_DGRAM, 0);
  struct pollfd p = {.fd = fd, .events = POLLIN};
  netif_list[999] = 1;
  if (read(fd, text, 5) != 5 || strcmp(text, "words") || udp < 0 || poll(&p, 1, 100) != 1)
    return 1;
  printf("%d %d %d %ld %d %d\n", do_poll(1), tcp_connect, !mem_malloc(1), sys_read(0, 0, 0), boot_main(),
         memp_free(4));
  return 0;
}
"""

ALLOCATOR = r"""
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <string.h>
#include <pthread.h>

static char room[1 << 20] __attribute__((aligned(16)));
static size_t used;
static int taken;
void* malloc(size_t n) {
  size_t* p = (size_t*)(room + __atomic_fetch_add(&used, (n + 31) / 16 * 16, __ATOMIC_RELAXED));
  __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
  *p = n;
  return p + 2;
}
void free(void* p) { if (p) __atomic_fetch_sub(&taken, 1, __ATOMIC_RELAXED); }
void* calloc(size_t a, size_t b) { return memset(malloc(a * b), 0, a * b); }
void* realloc(void* p, size_t n) {
  void* q = malloc(n);
  if (p) memcpy(q, p, ((size_t*)p)[-2] < n ? ((size_t*)p)[-2] : n), free(p);
  return q;
}
/* A memcpy of its own, too. */
void* memcpy(void* restrict to, const void* restrict from, size_t n) {
  for (size_t i = 0; i < n; ++i) ((volatile char*)to)[i] = ((const char*)from)[i];
  return to;
}

static void* thread(void* p) { free(malloc(10)); return p; }
static int inside(const void* p) { return (const char*)p > room && (const char*)p < room + sizeof room; }
#define CHECK(what) do { if (!(what)) { printf("not %s\n", #what); return 1; } } while (0)
int main(void) {
  char* text = strdup("text");
  CHECK(inside(text) && !strcmp(text, "text"));
  FILE* f = fopen("/etc/words", "r");
  char* line = NULL;
  size_t size = 0;
  CHECK(f && getline(&line, &size, f) == 6 && inside(line));
  fclose(f);
  pthread_t t;
  CHECK(!pthread_create(&t, NULL, thread, NULL) && !pthread_join(t, NULL));
  void* p = text;
  CHECK(!aligned_alloc(64, 64) && errno == ENOMEM);
  CHECK(posix_memalign(&p, 64, 64) == ENOMEM && p == text);
  CHECK(malloc_usable_size(text) == 0);
  int before = taken;
  free(text);
  CHECK(taken == before - 1);
  puts("own allocator");
}
"""

TWO_COPIES = r"""
#include <netdb.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static sigjmp_buf state;
int main(int count, char** words) {
  char* p = malloc(4096);
  struct addrinfo* found = NULL;
  int wrong = getaddrinfo("127.0.0.1", "80", NULL, &found);
  if (!sigsetjmp(state, 1))
    siglongjmp(state, 1);
  memset(p, 0x41, 4096);
  printf("%d %c\n", wrong + count + !words[0], p[4095]);
  return 0;
}
"""


@pytest.fixture
def build(app):
    """build(source) -> (status, output) of the application with that source."""
    app("hello")
    folder = ROOT / "apps" / NAME

    def build(source):
        (folder / "root" / "etc").mkdir(parents=True, exist_ok=True)
        (folder / "root" / "etc" / "words").write_text("words\n")
        (folder / "a.c").write_text(source)
        (folder / "recipe.cmake").write_text(f"oblako_app(NAME {NAME} SOURCES a.c ROOT root MEMORY 32)\n")
        done = subprocess.run(["make", "image", f"APP={NAME}"], cwd=ROOT, text=True, timeout=300,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    yield build
    shutil.rmtree(folder)
    subprocess.run(["make", "image", "APP=hello"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("source,expected", [
    (SECTIONS, "first\nsecond\nall sections are there\n"),
    (NAMES, "2 5 1 -77 9 8\n"),
    (ALLOCATOR, "own allocator\n"),
    (TWO_COPIES, "1 A\n"),
], ids=["sections", "names", "allocator", "two-copies"])
def test_it_is_linked_and_runs(build, boot, source, expected):
    status, output = build(source)
    assert status == 0, output
    guest = boot("hello", image=vm.BUILD / NAME / f"{NAME}.elf", memory=32)
    assert guest.wait_end(30) == 0, guest.text
    assert expected in guest.text.replace("\r", "")


@pytest.mark.parametrize("source,complaint", [
    ("void* malloc(unsigned long n) { return (void*)n; } int main(void) { return 0; }",
     "defines malloc but not free"),
    ('__asm__(".section both, \\"awx\\"\\n nop\\n .previous"); int main(void) { return 0; }',
     "the section both is writable and executable"),
])
def test_what_cannot_be_linked_is_said_in_one_line(build, source, complaint):
    status, output = build(source)
    assert status != 0 and complaint in output and "Traceback" not in output
