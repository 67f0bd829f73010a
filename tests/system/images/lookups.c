/* What the C library's resolver makes of its own host name, services, and names whose answers do
 * not fit a datagram; the names are the arguments. */
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

static void count(const char* name, const char* service) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *r = 0;
  int e = getaddrinfo(name, service, &hints, &r), n = 0;
  for (struct addrinfo* a = r; a; a = a->ai_next)
    n++;
  printf("%s %s: %s, %d\n", name, service ? service : "-", e ? gai_strerror(e) : "ok", n);
}

int main(int argc, char** argv) {
  char name[256];
  struct protoent* p = getprotobyname("udp");
  gethostname(name, sizeof name);
  count(name, 0);
  count("127.0.0.1", "http");
  printf("udp is %d\n", p ? p->p_proto : -1);
  for (int i = 1; i < argc; i++)
    count(argv[i], 0);
  printf("done\n");
}
