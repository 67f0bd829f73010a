// Reads what is typed on the console: a line with read(), one after poll(), one with stdio, then
// ^D. `all SIZE` reads all there is, SIZE bytes at a time, and prints how much it was and its hash;
// `late` reads nothing until ^C. The socket has no use but that the image gets the virtio drivers,
// the console's among them.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void read_all(size_t size) {
  static char buffer[65536];
  unsigned long total = 0, hash = 0xcbf29ce484222325; // FNV-1a
  for (ssize_t n; (n = read(0, buffer, size)) > 0; total += n) {
    if (total == 0)
      printf("begun\n");
    for (ssize_t i = 0; i < n; ++i)
      hash = (hash ^ (unsigned char)buffer[i]) * 0x100000001b3;
  }
  printf("all %lu %016lx\n", total, hash);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo) {
  (void)signo;
  interrupted = 1;
}

static void read_late(void) {
  signal(SIGINT, on_interrupt);
  printf("ready\n");
  while (!interrupted)
    usleep(10000);
  printf("interrupted\n");
  read_all(1000);
}

int main(int argc, char** argv) {
  char line[100];
  struct pollfd p = {0, POLLIN, 0};
  setvbuf(stdout, 0, _IONBF, 0);
  if (argc > 2 && !strcmp(argv[1], "all")) {
    printf("ready\n");
    read_all(atoi(argv[2]));
    return 0;
  }
  if (argc > 1) {
    close(socket(AF_INET, SOCK_STREAM, 0));
    read_late();
    return 0;
  }
  printf("ready 1\n");
  ssize_t n = read(0, line, sizeof line);
  printf("read %zd [%.*s]\n", n, (int)(n ? n - 1 : 0), line);
  printf("poll before %d\n", poll(&p, 1, 0));
  printf("ready 2\n");
  int ready = poll(&p, 1, 20000);
  printf("poll %d %s\n", ready, p.revents == POLLIN ? "POLLIN" : "something else");
  n = read(0, line, 4); // the rest of the line stays
  printf("part [%.*s]\n", (int)n, line);
  if (!fgets(line, sizeof line, stdin))
    return 1;
  line[strcspn(line, "\n")] = 0;
  printf("stdio [%s]\n", line);
  printf("ready 3\n");
  printf("end %zd\n", read(0, line, sizeof line));
  return 0;
}
