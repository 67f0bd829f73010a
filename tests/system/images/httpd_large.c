// apps/httpd with a file of 3 MB to serve, made at the start.
#define main httpd_main
#include "../../../apps/httpd/httpd.c"
#undef main

int main(void) {
  mkdir("/srv", 0755);
  FILE* large = fopen("/srv/large.bin", "w");
  for (int i = 0; i < 375000; ++i)
    fprintf(large, "%07d\n", i);
  if (!large || fclose(large))
    return 1;
  char* arguments[] = {"httpd", "-d", "/srv", NULL};
  return httpd_main(3, arguments);
}
