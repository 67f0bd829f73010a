// An echo server for tens of thousands of connections: what comes on one is sent back. The line
// "memory" is answered with the machine's free memory and the number of connections, the line
// "short ways" with how many segments took them: with data, acknowledgements, sent
// (/proc/net/netstat).
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static int connections;

static void need(int fine, const char* what) {
  if (fine)
    return;
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static void watch(int epoll, int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  need(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0, "epoll_ctl");
}

static void take_all(int epoll, int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    watch(epoll, fd);
    connections++;
  }
  need(errno == EAGAIN || errno == ECONNABORTED, "accept");
}

static int short_ways(char* text) {
  unsigned long data = 0, acknowledgements = 0, sent = 0;
  FILE* f = fopen("/proc/net/netstat", "r");
  need(f != NULL, "/proc/net/netstat");
  int n = fscanf(f, "TcpExt: TCPHPHits TCPHPAcks TCPHPSent TcpExt: %lu %lu %lu", &data,
                 &acknowledgements, &sent);
  fclose(f);
  need(n == 3, "/proc/net/netstat");
  return sprintf(text, "%lu %lu %lu\n", data, acknowledgements, sent);
}

static int is(const char* data, ssize_t n, const char* line) {
  return n == (ssize_t)strlen(line) && memcmp(data, line, (size_t)n) == 0;
}

static void serve(int fd) {
  char data[4096];
  ssize_t n = read(fd, data, sizeof data);
  if (n < 0 && errno == EAGAIN)
    return;
  if (is(data, n, "memory\n")) {
    struct sysinfo info;
    need(sysinfo(&info) == 0, "sysinfo");
    n = sprintf(data, "%lu %d\n", info.freeram * info.mem_unit, connections);
  } else if (is(data, n, "short ways\n")) {
    n = short_ways(data);
  }
  if (n <= 0 || write(fd, data, (size_t)n) != n) {
    close(fd);
    connections--;
  }
}

int main(void) {
  struct rlimit files = {100000, 100000};
  need(setrlimit(RLIMIT_NOFILE, &files) == 0, "setrlimit");
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0); // of both families
  struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(7)};
  need(bind(listener, (struct sockaddr*)&here, sizeof here) == 0, "bind");
  need(listen(listener, 4096) == 0, "listen");
  int epoll = epoll_create1(0);
  watch(epoll, listener);
  puts("echo: listening");
  for (;;) {
    static struct epoll_event ready[512];
    int n = epoll_wait(epoll, ready, 512, -1);
    need(n >= 0 || errno == EINTR, "epoll_wait");
    for (int i = 0; i < n; i++) {
      if (ready[i].data.fd == listener)
        take_all(epoll, listener);
      else
        serve(ready[i].data.fd);
    }
  }
}
