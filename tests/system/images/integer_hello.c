// No vector instruction from main on: for a KVM that interprets ring 0 and knows none of them.
// Prints the time of day in seconds and the nanoseconds since boot, which come from KVM's clock.
#include <time.h>
#include <unistd.h>

static void print(const char* name, unsigned long value) {
  char line[64], digits[20];
  int n = 0, d = 0;

  while (*name)
    line[n++] = *name++;
  do
    digits[d++] = '0' + value % 10;
  while (value /= 10);
  while (d)
    line[n++] = digits[--d];
  line[n++] = '\n';
  write(1, line, n);
}

int main(void) {
  static const char text[] = "integer hello\n";
  struct timespec wall, since_boot;

  if (write(1, text, sizeof(text) - 1) != sizeof(text) - 1)
    return 1;
  clock_gettime(CLOCK_REALTIME, &wall);
  clock_gettime(CLOCK_MONOTONIC, &since_boot);
  print("seconds since 1970: ", wall.tv_sec);
  print("ns since boot: ", since_boot.tv_sec * 1000000000L + since_boot.tv_nsec);
  return 0;
}
