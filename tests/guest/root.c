// root: root_files
// mem: 32
// The packed root: files as they are in the image, compressed ones, and everything that can happen
// to them, which happens in memory.
#define _GNU_SOURCE
#include "tap.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAILS(call, code) ((call) == -1 && errno == (code))

static int holds(const char* path, const char* contents) {
  char buffer[8192];
  int fd = open(path, O_RDONLY);
  if (fd < 0)
    return 0;
  ssize_t n = read(fd, buffer, sizeof buffer);
  close(fd);
  return n == (ssize_t)strlen(contents) && memcmp(buffer, contents, n) == 0;
}

static int entries(const char* path) {
  DIR* d = opendir(path);
  int n = 0;
  while (d && readdir(d))
    ++n;
  closedir(d);
  return n;
}

int main(void) {
  struct stat s;
  ok(holds("/etc/app.conf", "setting 1\n"), "a file of the image");
  ok(holds("/etc/passwd", "web:x:33:33:web:/srv:/bin/false\n"), "it goes before the kernel's own");
  ok(access("/etc/hosts", F_OK) == 0, "which is there where the image has none");
  ok(holds("/srv/link", "setting 1\n"), "a link of the image");
  ok(stat("/srv/deep/two", &s) == 0 && s.st_mode == (S_IFREG | 0755) && s.st_size == 4, "its mode");
  ok(stat("/srv", &s) == 0 && s.st_nlink == 3, "a folder counts the folders in it");
  ok(entries("/srv") == 6 && entries("/srv/deep") == 4, "folders list what is in the image");

  int fd = open("/srv/lines", O_RDWR);
  ok(fstat(fd, &s) == 0 && s.st_size == 42000, "a compressed file has its whole size");
  int right = 1;
  for (int i = 0; i < 1000; ++i) {
    char buffer[42], wanted[64];
    snprintf(wanted, sizeof wanted, "line %05d of a file that compresses well\n", i);
    right &= pread(fd, buffer, 42, i * 42l) == 42 && memcmp(buffer, wanted, 42) == 0;
  }
  ok(right, "and all of its contents");
  char* map = mmap(NULL, 42000, PROT_READ, MAP_PRIVATE, fd, 0);
  ok(map != MAP_FAILED && memcmp(map + 42 * 999, "line 00999", 10) == 0, "it can be mapped");
  close(fd);

  fd = open("/srv/page", O_RDWR);
  char buffer[16];
  ok(pwrite(fd, "X", 1, 10) == 1 && pread(fd, buffer, 3, 9) == 3 && !memcmp(buffer, "pXp", 3),
     "a byte is written into a file of the image");
  ok(pread(fd, buffer, 16, 4094) == 6 && !memcmp(buffer, "ppend\n", 6), "the rest of it stays");
  ok(ftruncate(fd, 4097) == 0 && ftruncate(fd, 5000) == 0 && pread(fd, buffer, 4, 4096) == 4 &&
         !memcmp(buffer, "e\0\0\0", 4),
     "cut off and extended: zeros, not the image's bytes");
  close(fd);

  ok(unlink("/srv/deep/two") == 0 && FAILS(open("/srv/deep/two", O_RDONLY), ENOENT),
     "a file of the image is removed");
  ok(entries("/srv/deep") == 3, "and not listed");
  fd = open("/srv/deep/two", O_CREAT | O_EXCL | O_RDWR, 0644);
  ok(fd >= 0 && holds("/srv/deep/two", ""), "another of that name is empty");
  close(fd);
  ok(rename("/srv/deep", "/tmp/moved") == 0 && holds("/tmp/moved/er/one", "one\n"),
     "a folder of the image is moved, with what was never looked at");
  ok(access("/srv/deep", F_OK) == -1 && mkdir("/srv/deep", 0755) == 0 && entries("/srv/deep") == 2,
     "a new one in its place is empty");
  ok(FAILS(rmdir("/tmp/moved/er"), ENOTEMPTY) && unlink("/tmp/moved/er/one") == 0 &&
         rmdir("/tmp/moved/er") == 0,
     "a folder of the image is removed when it is empty");
  return finish_counted();
}
