/* Sends bursts of datagrams to whoever asks on port 9000: "COUNT SIZE", "COUNT SIZE poll" without
 * blocking, "COUNT SIZE wait" with SO_SNDTIMEO of a fifth of a second. Each begins with its number.
 * Says on the console how many were taken, and how often there was no room. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

static char data[65507];

int main(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(9000)}, peer;
  bind(s, (struct sockaddr*)&own, sizeof own);
  printf("ready\n");
  for (;;) {
    char command[100] = "", how[10] = "";
    socklen_t n = sizeof peer;
    unsigned count = 0, size = 0, taken = 0, full = 0;
    recvfrom(s, command, sizeof command - 1, 0, (struct sockaddr*)&peer, &n);
    sscanf(command, "%u %u %9s", &count, &size, how);
    const int polls = !strcmp(how, "poll");
    struct timeval limit = {0, strcmp(how, "wait") ? 0 : 200000};
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    for (unsigned i = 0; i < count && size <= sizeof data;) {
      memcpy(data, &i, sizeof i);
      if (sendto(s, data, size, polls ? MSG_DONTWAIT : 0, (struct sockaddr*)&peer, n) ==
          (ssize_t)size) {
        taken++;
        i++;
        continue;
      }
      struct pollfd room = {.fd = s, .events = POLLOUT};
      if (errno != EAGAIN || !polls)
        break;
      full++;
      if (poll(&room, 1, 5000) != 1)
        break;
    }
    printf("sent %u of %u, full %u: %s\n", taken, count, full,
           taken < count ? strerror(errno) : "ok");
  }
}
