// hello with one socket(): the network must be linked, and only because of it.
#include <stdio.h>
#include <sys/socket.h>

int main(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  printf("socket %s\n", s >= 0 ? "ok" : "failed");
  return s >= 0 ? 0 : 1;
}
