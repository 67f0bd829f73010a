// No vector instruction from main on: for a KVM that interprets ring 0 and knows none of them.
#include <unistd.h>

int main(void) {
  static const char text[] = "integer hello\n";
  return write(1, text, sizeof(text) - 1) == sizeof(text) - 1 ? 0 : 1;
}
