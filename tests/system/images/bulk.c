// A server for bulk transfer, over IPv4 and IPv6. A client connects and asks with one line:
//
//   WHAT BYTES PIECE\n
//
// WHAT is `sink` (we read and throw away), `source` (we write zeros), `check` (we read and compare)
// or `pattern` (we write; octet n of the stream is pattern(n)). BYTES in all, PIECE at a time; for
// `check` and `pattern` a PIECE of 0 means pieces of changing size. When all has been transferred,
// sink and check answer `ok BYTES\n` or `wrong at OFFSET\n`. `quit` ends the machine.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { port = 5201, largest = 1 << 18 };

// A period that no segment, page or window size divides.
enum { period = 65521 };
static uint8_t pattern[period + largest];

static void fill_pattern(void) {
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof pattern; ++i) {
    if (i % period == 0)
      x = 1;
    x = x * 1103515245 + 12345;
    pattern[i] = x >> 16;
  }
}

static size_t piece_size(size_t asked, uint32_t* random) {
  if (asked)
    return asked < largest ? asked : largest;
  *random = *random * 1664525 + 1013904223;
  // Small ones as often as large ones.
  return 1 + (*random >> 8) % (1u << (1 + (*random >> 28)) << 2);
}

static int64_t take(int s, uint8_t* buffer, int64_t bytes, size_t piece, int check) {
  uint32_t random = 1;
  int64_t done = 0;
  while (done < bytes) {
    size_t n = piece_size(piece, &random);
    if ((int64_t)n > bytes - done)
      n = bytes - done;
    const ssize_t got = recv(s, buffer, n, 0);
    if (got <= 0)
      return done;
    if (check && memcmp(buffer, pattern + done % period, got) != 0)
      return -done - 1;
    done += got;
  }
  return done;
}

static void give(int s, int64_t bytes, size_t piece, const uint8_t* zeros) {
  uint32_t random = 2;
  for (int64_t done = 0; done < bytes;) {
    size_t n = piece_size(piece, &random);
    if ((int64_t)n > bytes - done)
      n = bytes - done;
    const ssize_t put = send(s, zeros ? zeros : pattern + done % period, n, MSG_NOSIGNAL);
    if (put <= 0)
      return;
    done += put;
  }
}

static void* serve(void* argument) {
  const int s = (int)(intptr_t)argument;
  char line[128], what[16] = "";
  size_t length = 0;
  while (length < sizeof line - 1 && recv(s, line + length, 1, 0) == 1 && line[length] != '\n')
    ++length;
  line[length] = 0;
  long long bytes = 0, piece = 0;
  sscanf(line, "%15s %lld %lld", what, &bytes, &piece);
  if (!strcmp(what, "quit"))
    exit(0);
  uint8_t* buffer = calloc(1, largest);
  if (!buffer) {
    printf("bulk: no memory for a connection\n");
  } else if (!strcmp(what, "source") || !strcmp(what, "pattern")) {
    give(s, bytes, piece, *what == 's' ? buffer : NULL);
  } else if (!strcmp(what, "sink") || !strcmp(what, "check")) {
    const int64_t done = take(s, buffer, bytes, piece, *what == 'c');
    length = done < 0 ? sprintf(line, "wrong at %lld\n", (long long)-done - 1)
                      : sprintf(line, "ok %lld\n", (long long)done);
    send(s, line, length, MSG_NOSIGNAL);
  }
  free(buffer);
  close(s);
  return NULL;
}

int main(void) {
  fill_pattern();
  // Both families, or IPv4 where there is no other (the Linux guest of bench/bench_net.py).
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  int listener = socket(AF_INET6, SOCK_STREAM, 0);
  if (listener < 0) {
    any.sin6_family = AF_INET; // the port lies at the same place, the address is 0
    listener = socket(AF_INET, SOCK_STREAM, 0);
  }
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (const struct sockaddr*)&any, sizeof any) || listen(listener, 64)) {
    perror("bulk");
    return 1;
  }
  printf("bulk: ready\n");
  fflush(stdout);
  for (;;) {
    const int s = accept(listener, NULL, NULL);
    if (s < 0)
      continue;
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void*)(intptr_t)s))
      close(s);
    else
      pthread_detach(thread);
  }
}
