// Reads what is typed on the console: a line with read(), one after poll(), one with stdio, then
// ^D.
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
  char line[100];
  struct pollfd p = {0, POLLIN, 0};
  setvbuf(stdout, 0, _IONBF, 0);
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
