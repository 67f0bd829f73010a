// The file tree: tmpfs, directories, names, links, open flags, /dev and /proc, as Linux has them.
// limit: 120
// mem: 64
#define _GNU_SOURCE
#include "tap.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define check ok
#define FAILS(call, code) ((call) == -1 && errno == (code))

static int write_file(const char* path, const char* contents) {
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (fd < 0)
    return -1;
  size_t n = strlen(contents);
  int good = write(fd, contents, n) == (ssize_t)n;
  close(fd);
  return good ? 0 : -1;
}

static int holds(const char* path, const char* contents) {
  char buffer[4096];
  int fd = open(path, O_RDONLY);
  if (fd < 0)
    return 0;
  ssize_t n = read(fd, buffer, sizeof buffer);
  close(fd);
  return n == (ssize_t)strlen(contents) && memcmp(buffer, contents, n) == 0;
}

static int has_text(const char* path, const char* text) {
  static char buffer[16384];
  int fd = open(path, O_RDONLY);
  if (fd < 0)
    return 0;
  ssize_t n = read(fd, buffer, sizeof buffer - 1);
  close(fd);
  if (n < 0)
    return 0;
  buffer[n] = 0;
  return strstr(buffer, text) != NULL;
}

static void descriptors(void) {
  check(isatty(0) && isatty(1) && isatty(2), "the console is a terminal");
  int a = open("/tmp", O_RDONLY | O_DIRECTORY);
  check(a == 3, "the first descriptor is 3");
  int b = dup(a);
  check(b == 4, "dup takes the lowest number");
  close(a);
  check(dup(b) == 3, "a closed number is used again");
  check(fcntl(b, F_DUPFD, 100) == 100, "F_DUPFD starts where it is told");
  check(fcntl(b, F_GETFD) == 0, "a new descriptor stays open over exec");
  check(fcntl(b, F_DUPFD_CLOEXEC, 100) == 101 && fcntl(101, F_GETFD) == FD_CLOEXEC,
        "F_DUPFD_CLOEXEC");
  check(fcntl(b, F_SETFD, FD_CLOEXEC) == 0 && fcntl(b, F_GETFD) == FD_CLOEXEC, "F_SETFD");
  check(dup2(b, 200) == 200 && fcntl(200, F_GETFD) == 0, "dup2 clears close-on-exec");
  check(dup2(b, b) == b, "dup2 onto itself");
  check(FAILS(dup3(b, b, 0), EINVAL), "dup3 onto itself is EINVAL");
  check(dup3(b, 201, O_CLOEXEC) == 201 && fcntl(201, F_GETFD) == FD_CLOEXEC, "dup3 with O_CLOEXEC");
  check(FAILS(close(5000), EBADF), "closing what is not open");
  check(FAILS(read(-1, &a, 1), EBADF), "descriptor -1");
  // musl 1.2.3 has no close_range().
  check(syscall(SYS_close_range, 3u, ~0u, 0) == 0, "close_range");
  check(FAILS(fcntl(100, F_GETFD), EBADF) && FAILS(fcntl(3, F_GETFD), EBADF), "closes all of them");
  // Grow the table well past its first size.
  int last = -1;
  for (int i = 0; i < 5000; ++i)
    last = dup(1);
  check(last == 5002, "5000 descriptors");
  close(77);
  close(3333);
  check(dup(1) == 77 && dup(1) == 3333 && dup(1) == 5003, "holes are filled lowest first");
  struct rlimit old, small = {5010, 5010};
  getrlimit(RLIMIT_NOFILE, &old);
  check(old.rlim_cur >= 10032, "enough descriptors for ten thousand clients");
  small.rlim_max = old.rlim_max;
  check(setrlimit(RLIMIT_NOFILE, &small) == 0, "setrlimit");
  int more = 0;
  while (dup(1) >= 0)
    ++more;
  check(errno == EMFILE && more == 6, "the limit holds");
  setrlimit(RLIMIT_NOFILE, &old);
  syscall(SYS_close_range, 3u, ~0u, 0);
}

// `out` holds "em" and is at its end.
static void copied_ranges(int out) {
  struct stat s;
  off_t from = 0, to = 1;
  int in = memfd_create("in", 0);
  check(write(in, "0123456789", 10) == 10, "a file to copy from");
  check(copy_file_range(in, &from, out, NULL, 4, 0) == 4 && from == 4 &&
            holds("/tmp/copied", "em0123"),
        "copy_file_range");
  check(copy_file_range(in, &from, out, NULL, 1000, 0) == 6 && from == 10 &&
            copy_file_range(in, &from, out, NULL, 1000, 0) == 0,
        "copy_file_range ends at the end");
  from = 0;
  check(FAILS(copy_file_range(in, &from, in, &to, 5, 0), EINVAL), "copying onto itself");
  to = 10;
  check(copy_file_range(in, &from, in, &to, 1 << 30, 0) == 10 && fstat(in, &s) == 0 &&
            s.st_size == 20,
        "what is copied is not copied again");
  int other = open("/dev/zero", O_RDWR);
  check(FAILS(copy_file_range(other, NULL, out, NULL, 1, 0), EINVAL),
        "copy_file_range of a device");
  close(other);
  other = open("/tmp", O_RDONLY);
  check(FAILS(copy_file_range(other, NULL, out, NULL, 1, 0), EISDIR),
        "copy_file_range of a directory");
  close(other);
  close(in);
}

static void reading_and_writing(void) {
  char buffer[64];
  int fd = open("/tmp/a", O_CREAT | O_RDWR | O_EXCL, 0640);
  check(fd >= 0, "create a file");
  check(FAILS(open("/tmp/a", O_CREAT | O_RDWR | O_EXCL, 0640), EEXIST), "O_EXCL");
  check(write(fd, "hello world", 11) == 11, "write");
  check(lseek(fd, 0, SEEK_SET) == 0 && read(fd, buffer, 64) == 11 &&
            !memcmp(buffer, "hello world", 11),
        "read it back");
  check(read(fd, buffer, 64) == 0, "end of file");
  check(pread(fd, buffer, 5, 6) == 5 && !memcmp(buffer, "world", 5), "pread");
  check(pwrite(fd, "W", 1, 6) == 1 && lseek(fd, 0, SEEK_CUR) == 11, "pwrite leaves the position");
  struct iovec v[2] = {{buffer, 6}, {buffer + 10, 10}};
  check(preadv(fd, v, 2, 0) == 11 && !memcmp(buffer + 10, "World", 5), "preadv");
  struct iovec w[3] = {{"ab", 2}, {"", 0}, {"cd", 2}};
  check(pwritev(fd, w, 3, 11) == 4, "pwritev");
  struct stat s;
  check(fstat(fd, &s) == 0 && s.st_size == 15 && S_ISREG(s.st_mode) && (s.st_mode & 0777) == 0640 &&
            s.st_nlink == 1,
        "fstat");
  check(s.st_mtim.tv_sec > 1000000000, "the file's time is a date");
  check(lseek(fd, 100000, SEEK_SET) == 100000 && write(fd, "x", 1) == 1, "write behind a hole");
  check(pread(fd, buffer, 64, 50000) == 64 && buffer[0] == 0 && buffer[63] == 0,
        "holes read as zeros");
  fstat(fd, &s);
  check(s.st_size == 100001 && s.st_blocks * 512 < 20000, "holes take no space");
  check(lseek(fd, -1, SEEK_END) == 100000, "SEEK_END");
  check(FAILS(lseek(fd, -5, SEEK_SET), EINVAL), "no negative position");
  check(lseek(fd, 5, SEEK_DATA) == 5 && FAILS(lseek(fd, 200000, SEEK_DATA), ENXIO), "SEEK_DATA");
  check(ftruncate(fd, 3) == 0 && ftruncate(fd, 20) == 0, "truncate down and up");
  check(pread(fd, buffer, 64, 0) == 20 && !memcmp(buffer, "hel\0\0", 5),
        "what was cut off is zero");
  check(FAILS(read(fd, (void*)16, 5), EFAULT), "EFAULT on a bad pointer");
  check(FAILS(write(fd, (void*)0xffff800000000000, 5), EFAULT), "EFAULT on a kernel pointer");
  close(fd);
  fd = open("/tmp/a", O_WRONLY | O_APPEND);
  check(FAILS(read(fd, buffer, 1), EBADF), "no reading from a write-only file");
  check(write(fd, "end", 3) == 3 && lseek(fd, 0, SEEK_CUR) == 23, "O_APPEND writes at the end");
  check(fcntl(fd, F_GETFL) == (O_WRONLY | O_APPEND | 0100000), "F_GETFL");
  close(fd);
  fd = open("/tmp/a", O_RDONLY);
  check(FAILS(write(fd, "x", 1), EBADF), "no writing to a read-only file");
  close(fd);
  fd = open("/tmp/a", O_RDWR | O_TRUNC);
  fstat(fd, &s);
  check(s.st_size == 0, "O_TRUNC");
  close(fd);
  // A file larger than any single allocation.
  fd = open("/tmp/large", O_CREAT | O_RDWR, 0644);
  static char block[65536];
  int good = 1;
  for (int i = 0; i < 256; ++i) {
    memset(block, i, sizeof block);
    good &= write(fd, block, sizeof block) == sizeof block;
  }
  check(good, "write 16 MB");
  for (int i = 0; i < 256; ++i) {
    good &= pread(fd, block, sizeof block, i * 65536l) == sizeof block;
    for (size_t k = 0; k < sizeof block; k += 4096)
      good &= block[k] == (char)i;
  }
  check(good, "and read it back");
  char* map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 1 << 20);
  check(map != MAP_FAILED && map[0] == 16 && map[65536] == 17, "map it privately");
  map[0] = 99;
  check(pread(fd, block, 1, 1 << 20) == 1 && block[0] == 16,
        "a private write does not reach the file");
  munmap(map, 1 << 20);
  struct sysinfo before, after;
  sysinfo(&before);
  check(unlink("/tmp/large") == 0 && pread(fd, block, 1, 0) == 1, "an unlinked file lives on");
  close(fd);
  sysinfo(&after);
  check(after.freeram > before.freeram + (12 << 20), "and its memory comes back");
  // Memory for files ends in an error.
  fd = open("/tmp/full", O_CREAT | O_RDWR, 0644);
  ssize_t n;
  size_t total = 0;
  while ((n = write(fd, block, sizeof block)) > 0)
    total += n;
  check(n == -1 && errno == ENOSPC && total > (16 << 20), "ENOSPC when memory runs out");
  check(ftruncate(fd, 0) == 0 && pwrite(fd, "x", 1, 0) == 1, "truncation makes room");
  check(FAILS(fallocate(fd, 0, 0, 1l << 40), ENOSPC), "fallocate of too much");
  check(fallocate(fd, 0, 0, 100000) == 0 && fstat(fd, &s) == 0 && s.st_size == 100000, "fallocate");
  check(pwrite(fd, block, 65536, 0) == 65536 &&
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192) == 0,
        "punch a hole");
  check(pread(fd, buffer, 1, 4096) == 1 && buffer[0] == 0, "the hole is zero");
  check(ftruncate(fd, 1l << 50) == 0 && pwrite(fd, "x", 1, (1l << 50) - 1) == 1,
        "a petabyte, sparse");
  check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, (1l << 50) - 8192) == 0,
        "a very long hole is punched at once");
  close(fd);
  unlink("/tmp/full");
  fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  check(fd >= 0 && write(fd, "tmp", 3) == 3, "O_TMPFILE");
  check(linkat(fd, "", AT_FDCWD, "/tmp/named", AT_EMPTY_PATH) == 0 && holds("/tmp/named", "tmp"),
        "an unnamed file gets a name");
  close(fd);
  fd = memfd_create("m", MFD_CLOEXEC);
  check(fd >= 0 && write(fd, "mem", 3) == 3 && ftruncate(fd, 4096) == 0, "memfd_create");
  int out = open("/tmp/copied", O_CREAT | O_RDWR, 0644);
  off_t from = 1;
  check(sendfile(out, fd, &from, 2) == 2 && from == 3 && holds("/tmp/copied", "em"), "sendfile");
  int ends[2];
  check(pipe(ends) == 0 && write(ends[1], "x", 1) == 1 &&
            FAILS(sendfile(out, ends[0], NULL, 1), EINVAL),
        "sendfile from a pipe");
  close(ends[0]);
  close(ends[1]);
  copied_ranges(out);
  close(out);
  close(fd);
}

static void names(void) {
  struct stat s;
  check(mkdir("/tmp/d", 0755) == 0 && mkdir("/tmp/d/e", 0755) == 0, "mkdir");
  check(FAILS(mkdir("/tmp/d", 0755), EEXIST), "mkdir of what exists");
  check(FAILS(mkdir("/tmp/x/y", 0755), ENOENT), "mkdir below nothing");
  check(stat("/tmp/d", &s) == 0 && s.st_nlink == 3 && S_ISDIR(s.st_mode),
        "a directory counts its children");
  check(FAILS(rmdir("/tmp/d"), ENOTEMPTY), "rmdir of a full directory");
  check(FAILS(unlink("/tmp/d"), EISDIR), "unlink of a directory");
  check(write_file("/tmp/d/f", "one") == 0, "a file in it");
  check(FAILS(rmdir("/tmp/d/f"), ENOTDIR), "rmdir of a file");
  check(FAILS(open("/tmp/d/f/", O_RDONLY), ENOTDIR), "a slash after a file");
  check(FAILS(open("/tmp/d/f/x", O_RDONLY), ENOTDIR), "a path through a file");
  check(FAILS(open("/tmp/d", O_WRONLY), EISDIR), "a directory is not written");
  check(FAILS(open("/tmp/d/f", O_RDONLY | O_DIRECTORY), ENOTDIR), "O_DIRECTORY");
  check(FAILS(open("", O_RDONLY), ENOENT), "the empty path");
  char longest[300];
  memset(longest, 'n', sizeof longest);
  strcpy(longest + 256, "");
  check(FAILS(open(longest, O_CREAT | O_RDWR, 0644), ENAMETOOLONG), "a name of 256 bytes");
  longest[255] = 0;
  chdir("/tmp/d");
  check(write_file(longest, "long") == 0 && holds(longest, "long") && unlink(longest) == 0,
        "a name of 255 bytes");
  char* path = malloc(5000);
  memset(path, '/', 5000);
  path[4999] = 0;
  check(FAILS(open(path, O_RDONLY), ENAMETOOLONG), "a path of 4999 bytes");
  path[4095] = 0;
  check(access(path, F_OK) == 0, "a path of 4095 bytes");
  free(path);
  char cwd[64];
  check(getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/tmp/d"), "getcwd");
  check(FAILS(syscall(SYS_getcwd, cwd, 3), ERANGE), "getcwd without room");
  check(holds("f", "one") && holds("./f", "one") && holds("../d/f", "one") &&
            holds("e/../f", "one"),
        "relative paths");
  check(access("/../../tmp", F_OK) == 0, "above the root is the root");
  int dir = open("e", O_RDONLY);
  check(fchdir(dir) == 0 && getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/tmp/d/e"), "fchdir");
  check(openat(dir, "../f", O_RDONLY) >= 0, "openat");
  check(FAILS(openat(12345, "f", O_RDONLY), EBADF), "openat from nothing");
  check(rmdir("/tmp/d/e") == 0 && getcwd(cwd, sizeof cwd) == NULL && errno == ENOENT,
        "the working directory may be removed");
  check(FAILS(open("new", O_CREAT | O_RDWR, 0644), ENOENT), "nothing is created in it then");
  chdir("/");
  close(dir);

  check(rename("/tmp/d/f", "/tmp/d/g") == 0 && holds("/tmp/d/g", "one") &&
            access("/tmp/d/f", F_OK) < 0,
        "rename");
  write_file("/tmp/d/h", "two");
  check(rename("/tmp/d/g", "/tmp/d/h") == 0 && holds("/tmp/d/h", "one"), "rename over a file");
  mkdir("/tmp/d/k", 0755);
  mkdir("/tmp/d/k/l", 0755);
  check(FAILS(rename("/tmp/d/k", "/tmp/d/k/l/m"), EINVAL), "a directory does not move into itself");
  check(FAILS(rename("/tmp/d/h", "/tmp/d/k"), EISDIR), "a file does not replace a directory");
  check(FAILS(rename("/tmp/d/k", "/tmp/d/h"), ENOTDIR), "nor a directory a file");
  mkdir("/tmp/d/o", 0755);
  check(FAILS(rename("/tmp/d/o", "/tmp/d/k"), ENOTEMPTY), "nor a directory a full one");
  check(rename("/tmp/d/k", "/tmp/d/o") == 0 && access("/tmp/d/o/l", F_OK) == 0, "but an empty one");
  stat("/tmp/d", &s);
  check(s.st_nlink == 3, "and the count is right");
  chdir("/tmp/d/o/l");
  rename("/tmp/d/o", "/tmp/moved");
  check(getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/tmp/moved/l"), "getcwd follows a move");
  chdir("/");
  check(FAILS(rename("/tmp/d/h", "/proc/h"), EXDEV), "no rename to another file system");
  check(FAILS(rmdir("/proc"), EBUSY) && FAILS(rmdir("/"), EBUSY), "mount points stay");
  write_file("/tmp/d/i", "three");
  check(FAILS(syscall(SYS_renameat2, AT_FDCWD, "/tmp/d/h", AT_FDCWD, "/tmp/d/i", 1), EEXIST),
        "RENAME_NOREPLACE");
  check(syscall(SYS_renameat2, AT_FDCWD, "/tmp/d/h", AT_FDCWD, "/tmp/d/i", 2) == 0 &&
            holds("/tmp/d/h", "three") && holds("/tmp/d/i", "one"),
        "RENAME_EXCHANGE");

  check(link("/tmp/d/h", "/tmp/d/j") == 0 && stat("/tmp/d/j", &s) == 0 && s.st_nlink == 2, "link");
  check(FAILS(link("/tmp/d", "/tmp/dd"), EPERM), "no links to directories");
  check(rename("/tmp/d/h", "/tmp/d/j") == 0 && access("/tmp/d/h", F_OK) == 0,
        "rename onto a link of the same file does nothing");
  check(symlink("j", "/tmp/d/s") == 0 && holds("/tmp/d/s", "three"), "symlink");
  check(lstat("/tmp/d/s", &s) == 0 && S_ISLNK(s.st_mode) && s.st_size == 1, "lstat");
  char target[16];
  check(readlink("/tmp/d/s", target, sizeof target) == 1 && target[0] == 'j', "readlink");
  check(FAILS(readlink("/tmp/d/j", target, sizeof target), EINVAL), "readlink of a file");
  symlink("/tmp/d/loop2", "/tmp/d/loop1");
  symlink("loop1", "/tmp/d/loop2");
  check(FAILS(open("/tmp/d/loop1", O_RDONLY), ELOOP), "links in a circle");
  check(FAILS(open("/tmp/d/s", O_RDONLY | O_NOFOLLOW), ELOOP), "O_NOFOLLOW");
  symlink("/tmp/d", "/tmp/dirlink");
  check(holds("/tmp/dirlink/s", "three"), "a link to a directory on the way");
  check(lstat("/tmp/dirlink/", &s) == 0 && S_ISDIR(s.st_mode), "a slash follows the link");
  symlink("made", "/tmp/d/dangling");
  check(write_file("/tmp/d/dangling", "new") == 0 && holds("/tmp/d/made", "new"),
        "O_CREAT through a dangling link");
  check(FAILS(open("/tmp/d/dangling", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST),
        "but not with O_EXCL");
  check(unlink("/tmp/dirlink") == 0 && access("/tmp/d", F_OK) == 0, "unlink takes the link");

  check(chmod("/tmp/d/made", 04711) == 0 && stat("/tmp/d/made", &s) == 0 &&
            (s.st_mode & 07777) == 04711,
        "chmod");
  check(chown("/tmp/d/made", 7, -1) == 0 && stat("/tmp/d/made", &s) == 0 && s.st_uid == 7 &&
            s.st_gid == 0,
        "chown");
  struct timespec t[2] = {{1000, 5}, {0, UTIME_OMIT}};
  struct stat before = s;
  check(utimensat(AT_FDCWD, "/tmp/d/made", t, 0) == 0 && stat("/tmp/d/made", &s) == 0 &&
            s.st_atim.tv_sec == 1000 && s.st_atim.tv_nsec == 5 &&
            s.st_mtim.tv_sec == before.st_mtim.tv_sec,
        "utimensat");
  umask(077);
  write_file("/tmp/d/private", "");
  umask(022);
  check(stat("/tmp/d/private", &s) == 0 && (s.st_mode & 0777) == 0600, "umask");
  check(access("/tmp/d/private", R_OK | W_OK) == 0 && FAILS(access("/tmp/d/private", X_OK), EACCES),
        "access");
  check(statfs("/tmp", &(struct statfs){0}) == 0, "statfs");
}

static int count_entries(const char* path, const char* wanted, int* found) {
  DIR* d = opendir(path);
  if (!d)
    return -1;
  int n = 0;
  *found = 0;
  for (struct dirent* e; (e = readdir(d));) {
    ++n;
    *found += !strcmp(e->d_name, wanted);
  }
  closedir(d);
  return n;
}

static void listing(void) {
  int found, n;
  mkdir("/tmp/many", 0755);
  char name[300];
  for (int i = 0; i < 1000; ++i) {
    sprintf(name, "/tmp/many/file-%d", i);
    write_file(name, "");
  }
  check(count_entries("/tmp/many", "file-567", &found) == 1002 && found == 1,
        "readdir sees a thousand files");
  // Remove while listing: everything that stays must be seen, once.
  DIR* d = opendir("/tmp/many");
  int seen = 0;
  for (struct dirent* e; (e = readdir(d));) {
    if (e->d_name[0] == '.')
      continue;
    ++seen;
    sprintf(name, "/tmp/many/%s", e->d_name);
    unlink(name);
  }
  closedir(d);
  check(seen == 1000, "and all of them while they are removed");
  check(rmdir("/tmp/many") == 0, "the directory is empty then");
  n = count_entries("/", "proc", &found);
  check(n >= 7 && found == 1, "the root lists its mounts");
  check(count_entries("/dev", "null", &found) > 8 && found == 1, "/dev");
  check(count_entries("/proc", "self", &found) > 8 && found == 1, "/proc lists a folder once");
  check(count_entries("/proc/sys", "vm", &found) == 6 && found == 1, "/proc/sys");
  check(count_entries("/proc/self/fd", "2", &found) >= 5 && found == 1, "/proc/self/fd");
}

static void devices(void) {
  char b[64], c[64];
  struct stat s;
  int fd = open("/dev/null", O_RDWR);
  check(write(fd, "x", 1) == 1 && read(fd, b, 1) == 0, "/dev/null");
  check(fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == 0x103, "its device number");
  close(fd);
  fd = open("/dev/zero", O_RDONLY);
  memset(b, 1, sizeof b);
  check(read(fd, b, 64) == 64 && b[0] == 0 && b[63] == 0, "/dev/zero");
  char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  check(map != MAP_FAILED && map[5000] == 0 && (map[5000] = 1), "a mapping of it");
  munmap(map, 8192);
  close(fd);
  fd = open("/dev/full", O_WRONLY);
  check(FAILS(write(fd, "x", 1), ENOSPC), "/dev/full");
  close(fd);
  fd = open("/dev/urandom", O_RDONLY);
  check(read(fd, b, 64) == 64 && getrandom(c, 64, 0) == 64 && memcmp(b, c, 64) != 0,
        "random numbers differ");
  close(fd);
  check(FAILS(open("/dev/nothing", O_RDONLY), ENOENT), "no other devices");
  check(FAILS(open("/dev/new", O_CREAT | O_RDWR, 0644), EPERM), "none can be made there");
  fd = open("/dev/stdout", O_WRONLY);
  check(fd >= 0 && isatty(fd), "/dev/stdout is the console");
  close(fd);
}

/* All of a file of unknown size; the size. */
static size_t contents(const char* path, void* to, size_t room) {
  int fd = open(path, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, to, room);
  close(fd);
  return n < 0 ? 0 : (size_t)n;
}

static int waiting[2];

static void* until_told(void* p) {
  char c;
  read(waiting[0], &c, 1);
  return p;
}

static void own_process(void) {
  static char all[4096];
  char text[128];
  size_t n = contents("/proc/self/environ", all, sizeof all), at = 0;
  int good = n > 0 && all[n - 1] == 0, count = 0, count_there = 0;
  for (; at < n; at += strlen(all + at) + 1, ++count) {
    char* value = strchr(all + at, '=');
    good &= value != 0;
    if (value) {
      *value = 0;
      good &= getenv(all + at) && !strcmp(getenv(all + at), value + 1);
      *value = '=';
    }
  }
  for (char** e = environ; *e; ++e)
    ++count_there;
  check(good && count == count_there, "/proc/self/environ");

  unsigned long pairs[64][2] = {0};
  n = contents("/proc/self/auxv", pairs, sizeof pairs);
  good = n >= 64 && n % 16 == 0 && pairs[n / 16 - 1][0] == 0;
  int page = 0;
  for (size_t i = 0; i < n / 16; ++i) {
    page |= pairs[i][0] == AT_PAGESZ && pairs[i][1] == 4096;
    good &= pairs[i][0] == 0 || getauxval(pairs[i][0]) == pairs[i][1];
  }
  check(good && page, "/proc/self/auxv");

  mkdir("/tmp/here", 0755), chdir("/tmp/here");
  n = (size_t)readlink("/proc/self/cwd", text, sizeof text);
  check(n == 9 && !memcmp(text, "/tmp/here", 9), "/proc/self/cwd names the working directory");
  check(write_file("/proc/self/cwd/file", "x") == 0 && holds("/tmp/here/file", "x"),
        "and leads there");
  unlink("file"), chdir("/"), rmdir("/tmp/here");
  check(readlink("/proc/self/cwd", text, sizeof text) == 1 && text[0] == '/', "or to the root");

  int found, alone = count_entries("/proc/self/task", "1", &found) - 2;
  check(alone == 1 && found == 1, "/proc/self/task has one thread");
  pthread_t t;
  pipe(waiting);
  pthread_create(&t, NULL, until_told, NULL);
  check(count_entries("/proc/self/task", "1", &found) - 2 == 2 && found == 1, "or two");
  check(has_text("/proc/self/task/1/status", "Threads:\t2"), "a thread's directory");
  check(FAILS(open("/proc/self/task/77/stat", O_RDONLY), ENOENT) &&
            FAILS(open("/proc/self/task/01/stat", O_RDONLY), ENOENT) &&
            FAILS(open("/proc/self/task/99999999999/stat", O_RDONLY), ENOENT),
        "there is no other");
  write(waiting[1], "x", 1);
  pthread_join(t, NULL);
  close(waiting[0]), close(waiting[1]);
  struct stat s;
  stat("/proc", &s);
  sprintf(text, " 0:%u / /proc ", minor(s.st_dev));
  check(has_text("/proc/self/mountinfo", text), "/proc/self/mountinfo");
}

static void places_to_write(void) {
  const char* const places[] = {"/dev/shm", "/run", "/run/shm", "/var/log", "/var/lib", "/var/tmp"};
  int good = 1;
  char name[64];
  for (int i = 0; i < 6; ++i) {
    sprintf(name, "%s/file", places[i]);
    good &= write_file(name, "text") == 0 && holds(name, "text") && unlink(name) == 0;
  }
  check(good, "places that programs write to");
  struct stat s;
  check(stat("/dev/shm", &s) == 0 && S_ISDIR(s.st_mode) && (s.st_mode & 07777) == 01777,
        "/dev/shm is everybody's");
  int fd = shm_open("/a", O_CREAT | O_EXCL | O_RDWR, 0600);
  check(fd >= 0 && ftruncate(fd, 8192) == 0 && write(fd, "x", 1) == 1, "shm_open");
  char* p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
  check(p != MAP_FAILED && p[0] == 'x' && p[8191] == 0, "what is mapped of it");
  munmap(p, 8192), close(fd);
  check(FAILS(shm_open("/a", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST) && shm_unlink("/a") == 0 &&
            FAILS(shm_open("/a", O_RDWR, 0), ENOENT),
        "shm_unlink");
}

static void proc(void) {
  char b[64], exe[64];
  check(has_text("/proc/meminfo", "MemTotal:"), "/proc/meminfo");
  check(has_text("/proc/self/status", "VmRSS:"), "/proc/self/status");
  check(has_text("/proc/self/maps", "r-xp"), "/proc/self/maps shows code");
  check(has_text("/proc/self/stat", "(guest-files)"), "/proc/self/stat names the program");
  check(has_text("/proc/self/smaps", "Private_Dirty:"), "/proc/self/smaps");
  check(holds("/proc/sys/vm/overcommit_memory", "1\n"), "/proc/sys/vm/overcommit_memory");
  check(write_file("/proc/self/oom_score_adj", "100") == 0, "oom_score_adj takes a number");
  check(FAILS(open("/proc/meminfo", O_WRONLY), EACCES), "meminfo does not");
  check(has_text("/sys/kernel/mm/transparent_hugepage/enabled", "[madvise]"),
        "transparent huge pages");
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  check(n > 0 && (exe[n] = 0, !strcmp(exe, "/guest-files")), "/proc/self/exe");
  check(has_text("/proc/cpuinfo", "processor"), "/proc/cpuinfo");
  own_process();
  long pages = -1, resident = -1;
  FILE* f = fopen("/proc/self/statm", "r");
  check(f && fscanf(f, "%ld %ld", &pages, &resident) == 2 && pages >= resident && resident > 0,
        "/proc/self/statm");
  fclose(f);
  int fd = open("/tmp/a", O_RDWR);
  sprintf(b, "/proc/self/fd/%d", fd);
  int again = open(b, O_RDONLY);
  struct stat s1, s2;
  fstat(fd, &s1);
  fstat(again, &s2);
  check(again >= 0 && s1.st_ino == s2.st_ino, "/proc/self/fd opens the file again");
  close(fd);
  close(again);
  check(has_text("/etc/hosts", "localhost") && has_text("/etc/passwd", "root:"), "/etc");
  check(write_file("/etc/resolv.conf", "nameserver 1.2.3.4\n") == 0 &&
            holds("/etc/resolv.conf", "nameserver 1.2.3.4\n"),
        "/etc/resolv.conf can be written");
  check(unlink("/etc/hosts") == 0 && access("/etc/hosts", F_OK) < 0, "and a file removed");
  struct utsname u;
  check(uname(&u) == 0 && !strcmp(u.machine, "x86_64") && u.nodename[0], "uname");
  check(sethostname("guest", 5) == 0 && uname(&u) == 0 && !strcmp(u.nodename, "guest"),
        "sethostname");
}

static void identity(void) {
  check(getuid() == 0 && geteuid() == 0, "root to begin with");
  gid_t groups[2] = {5, 6}, seen[8];
  check(setgroups(2, groups) == 0 && getgroups(8, seen) == 2 && seen[1] == 6, "setgroups");
  check(setgid(100) == 0 && setuid(100) == 0, "privileges are dropped");
  check(getuid() == 100 && geteuid() == 100 && getegid() == 100, "and asked for");
  check(setsid() == 1 && getpgrp() == 1, "its own session");
}

int main(void) {
  descriptors();
  reading_and_writing();
  names();
  listing();
  devices();
  proc();
  places_to_write();
  identity();
  return finish_counted();
}
