// The first process of the Linux guests that we compare with (bench/linux_guest.sh): no more than
// what any of them needs to serve. Configured by words on the kernel's command line, which Linux
// hands to it as environment variables:
//
//   run=PROGRAM[,ARGUMENT...]   what to start; when it ends the machine does
//   address=A.B.C.D/LEN         for eth0
//   gateway=A.B.C.D
//
// Modules (the stock kernel's) lie in /modules under names that sort in their order.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char* what) {
  perror(what);
  sync();
  reboot(RB_AUTOBOOT); // by triple fault (reboot=t): QEMU ends
  _exit(1);
}

static void load_modules(void) {
  for (int i = 0;; i++) {
    char path[32];
    snprintf(path, sizeof path, "/modules/%02d.ko", i);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return;
    if (syscall(SYS_finit_module, fd, "", 0))
      die(path);
    close(fd);
  }
}

static struct sockaddr to_sockaddr(in_addr_t address) {
  const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
  struct sockaddr out;
  memcpy(&out, &in, sizeof out);
  return out;
}

static void request(int s, int what, struct ifreq* r, const char* name) {
  if (ioctl(s, what, r))
    die(name);
}

static void up(int s, const char* name) {
  struct ifreq r = {0};
  strcpy(r.ifr_name, name);
  r.ifr_flags = IFF_UP | IFF_RUNNING;
  request(s, SIOCSIFFLAGS, &r, name);
}

static void configure_network(char* address, const char* gateway) {
  const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  up(s, "lo");
  if (!address)
    return;
  char* length = strchr(address, '/');
  if (!length)
    die("address=");
  *length++ = 0;
  struct ifreq r = {0};
  strcpy(r.ifr_name, "eth0");
  r.ifr_addr = to_sockaddr(inet_addr(address));
  request(s, SIOCSIFADDR, &r, "address=");
  r.ifr_netmask = to_sockaddr(htonl(~0u << (32 - atoi(length))));
  request(s, SIOCSIFNETMASK, &r, "netmask");
  up(s, "eth0");
  if (gateway) {
    struct rtentry route = {.rt_dst = to_sockaddr(0),
                            .rt_genmask = to_sockaddr(0),
                            .rt_gateway = to_sockaddr(inet_addr(gateway)),
                            .rt_flags = RTF_UP | RTF_GATEWAY};
    if (ioctl(s, SIOCADDRT, &route))
      die("gateway=");
  }
  close(s);
}

int main(void) {
  char* run = getenv("run");
  char* address = getenv("address");
  char* gateway = getenv("gateway");
  if (!run)
    die("run=");
  load_modules();
  mount("proc", "/proc", "proc", 0, NULL);
  configure_network(address, gateway);

  char* words[16] = {0};
  for (int i = 0; i < 15 && run; i++)
    words[i] = strsep(&run, ",");
  char path[128];
  snprintf(path, sizeof path, "/bin/%s", words[0]);
  char* const environment[] = {"HOME=/", "PATH=/bin", NULL};
  const pid_t child = vfork();
  if (child == 0) {
    execve(path, words, environment);
    _exit(127);
  }
  int status = 0;
  while (waitpid(-1, &status, 0) != child)
    ;
  if (status)
    fprintf(stderr, "init: %s ended with status %d\n", path, status);
  reboot(RB_AUTOBOOT);
  return 0;
}
