// What connections within the machine cost (bench/count.py --loopback): `loopback WHAT COUNT`.
//
//   one      COUNT round trips of 64 octets between two sockets of one thread
//   threads  COUNT round trips of 64 octets between two threads that wait in read()
//   epoll    the same, the answering thread waiting in epoll_wait()
//   bulk     COUNT megabytes from one thread to another, 64 kB at a time
//   connect  COUNT connections opened, accepted and closed
//   crowd    the same, with 500 other listeners, each with a connection
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void must(int good, const char* what) {
  if (!good) {
    perror(what);
    exit(1);
  }
}

static void connected(int s[2]) {
  const int on = 1;
  s[0] = socket(AF_INET, SOCK_STREAM, 0);
  must(connect(s[0], (struct sockaddr*)&address, sizeof address) == 0, "connect");
  must((s[1] = accept(listener, NULL, NULL)) >= 0, "accept");
  for (int i = 0; i < 2; ++i)
    setsockopt(s[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void crowd(void) {
  const struct sockaddr_in own = address;
  const int its_listener = listener;
  int s[2];
  for (int i = 0; i < 500; ++i) {
    socklen_t length = sizeof address;
    address.sin_port = 0;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr*)&address, sizeof address);
    must(listen(listener, 16) == 0, "listen");
    getsockname(listener, (struct sockaddr*)&address, &length);
    connected(s);
  }
  address = own;
  listener = its_listener;
}

static void say(int s, char* message) {
  must(write(s, message, 64) == 64, "write");
}
static int hear(int s, char* message) {
  return read(s, message, 64) == 64;
}

static void* answer(void* socket) {
  char message[64];
  while (hear(*(int*)socket, message))
    say(*(int*)socket, message);
  return NULL;
}

static void* answer_events(void* socket) {
  char message[64];
  const int e = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(e, EPOLL_CTL_ADD, *(int*)socket, &event);
  while (epoll_wait(e, &event, 1, -1) == 1 && hear(*(int*)socket, message))
    say(*(int*)socket, message);
  close(e);
  return NULL;
}

static char block[65536];

static void* swallow(void* socket) {
  static char into[65536];
  while (read(*(int*)socket, into, sizeof into) > 0)
    ;
  return NULL;
}

static void with_thread(int s[2], void* (*other)(void*), long count) {
  char message[64] = "ping";
  pthread_t thread;
  pthread_create(&thread, NULL, other, &s[1]);
  for (; count > 0; --count) {
    if (other == swallow) {
      for (size_t sent = 0; sent < 1 << 20; sent += sizeof block)
        must(write(s[0], block, sizeof block) == sizeof block, "write");
    } else {
      say(s[0], message);
      must(hear(s[0], message), "read");
    }
  }
  shutdown(s[0], SHUT_WR);
  pthread_join(thread, NULL);
}

int main(int argc, char** argv) {
  const char* what = argc > 2 ? argv[1] : "one";
  const long count = argc > 2 ? atol(argv[2]) : 1000;
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM, 0);
  bind(listener, (struct sockaddr*)&address, sizeof address);
  must(listen(listener, 16) == 0, "listen");
  getsockname(listener, (struct sockaddr*)&address, &length);
  int s[2];
  char message[64] = "ping";
  connected(s);
  const int crowded = !strcmp(what, "crowd");
  if (crowded)
    crowd();
  if (!strcmp(what, "threads"))
    with_thread(s, answer, count);
  else if (!strcmp(what, "epoll"))
    with_thread(s, answer_events, count);
  else if (!strcmp(what, "bulk"))
    with_thread(s, swallow, count);
  else
    for (long i = 0; i < count; ++i) {
      if (crowded || !strcmp(what, "connect")) {
        close(s[0]), close(s[1]);
        connected(s);
        continue;
      }
      say(s[0], message);
      must(hear(s[1], message), "read");
      say(s[1], message);
      must(hear(s[0], message), "read");
    }
  return 0;
}
