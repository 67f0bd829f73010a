// Ends with the status given as argument, or by the signal given as "signal N".
#include <signal.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char** argv) {
  if (argc > 2 && !strcmp(argv[1], "signal"))
    raise(atoi(argv[2]));
  return argc > 1 ? atoi(argv[1]) : 0;
}
