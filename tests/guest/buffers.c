// What waits in pipes and local sockets takes a bounded part of memory, however many there are, and
// each still takes something.
// mem: 32
#define _GNU_SOURCE
#include "tap.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { most = 20000, page = 4096 };
static int ends[most][2];

static unsigned long free_memory(void) {
  struct sysinfo info;
  return sysinfo(&info) == 0 ? info.freeram * info.mem_unit : 0;
}

// As many as there may be. Then each is written to until it takes no more: how many octets.
static int make_all(int (*make)(int*)) {
  int count = 0;
  while (count < most && make(ends[count]) == 0)
    count++;
  return count;
}

static long fill_all(int count, size_t piece) {
  static char data[page];
  long total = 0;
  for (int i = 0; i < count; i++)
    for (ssize_t n; (n = write(ends[i][1], data, piece)) > 0;)
      total += n;
  return total;
}

static void close_all(int count) {
  for (int i = 0; i < count; i++)
    close(ends[i][0]), close(ends[i][1]);
}

static int make_pipe(int* fds) {
  return pipe2(fds, O_NONBLOCK);
}

static int make_pair(int* fds) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
}

// The application can go on: its own pages are not taken from below it.
static int takes_pages(size_t bytes) {
  volatile char* p = malloc(bytes);
  for (size_t i = 0; p && i < bytes; i += page)
    p[i] = 1;
  free((void*)p);
  return p != NULL;
}

static void check(int (*make)(int*), size_t piece, const char* what) {
  const unsigned long before = free_memory();
  const int count = make_all(make);
  ok(count > 100, what);
  ok(count == most || errno == ENOMEM || errno == EMFILE, "there is an end, with its reason");
  ok(fill_all(count, piece) > count / 2, "most take something");
  ok(free_memory() > (1 << 20), "more than the reserve is left");
  ok(takes_pages(64 << 10), "the application can have pages");
  close_all(count);
  const unsigned long after = free_memory();
  ok(after + (before >> 6) > before, "all of it is free again");
}

int main(void) {
  plan(20);
  takes_pages(256 << 10);        // what malloc keeps is there before
  close(dup2(0, 2 * most + 10)); // and the descriptor table
  int fds[2];
  ok(make_pipe(fds) == 0 && write(fds[1], "x", 1) == 1, "a pipe that is there before");
  check(make_pipe, page, "pipes");
  check(make_pair, page, "local sockets, whole pages");
  check(make_pair, 1, "local sockets, an octet each time");
  char c;
  ok(read(fds[0], &c, 1) == 1 && c == 'x' && write(fds[1], "y", 1) == 1, "the first pipe works");
  return finish();
}
