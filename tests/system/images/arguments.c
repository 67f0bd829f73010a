// Prints its arguments and environment, one a line in brackets.
#include <stdio.h>

extern char** environ;

int main(int argc, char** argv) {
  for (int i = 1; i < argc; i++)
    printf("argument [%s]\n", argv[i]);
  for (char** e = environ; *e; e++)
    printf("environment [%s]\n", *e);
  return 0;
}
