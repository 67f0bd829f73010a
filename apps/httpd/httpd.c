// A small static HTTP/1.1 server: httpd [-p PORT] [-d FOLDER] [-c CONNECTIONS]
//
// One thread and one epoll set. A connection reads a request, answers it and reads the next; while
// an answer does not fit into the socket, only that connection waits. Small files go out with their
// header in one piece, large ones by sendfile. GET and HEAD, keep-alive and pipelining, one byte
// range, If-Modified-Since; no directory listings, no CGI, no TLS.
//
// Clients are not trusted. There are as many connections as memory allows; when all are taken, the one
// that has done nothing useful for longest gives way to who comes. Useful is a whole request, or an
// answer of which the client has taken a part that is worth counting: half a request is not, however
// often a byte of it arrives. Requests, pauses and answers have time limits besides.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

enum {
  request_limit = 8192, // bytes of one request's head
  head_limit = 512,
  small_file = 8192,   // copied behind the head
  head_seconds = 15,     // from a request's first byte to the end of its head
  idle_seconds = 60,     // between requests
  progress_seconds = 30, // in which a client takes so much of an answer, or its rest:
  progress_bytes = 16384,
  memory_of_one = 32768, // for each connection: this structure, and what the kernel has of it
  batch = 64,          // events per epoll_wait
  requests_a_turn = 8  // then the other connections have theirs, of which thousands may be ready
};

struct connection {
  struct connection *previous, *next; // by `useful`, the earliest first
  time_t useful;      // when it last did something useful
  time_t begun;       // when an unfinished request began, or the connection; 0 between requests
  long long given;    // bytes of answers that the kernel has taken
  long long progress; // how many of them the client had at `useful`, or soon after; -1: not asked
  int fd;
  int file;         // being sent, or -1
  off_t at, end;    // of the file
  size_t got;       // bytes in `request`
  size_t out, sent; // bytes in `answer`, and how many of them are gone
  int closing;      // after this answer
  int wants_output; // registered for EPOLLOUT
  char request[request_limit + 1];
  char answer[head_limit + small_file];
};

static struct connection idle = {.previous = &idle, .next = &idle};
static int epoll, listener;
static int connections, most_connections;
static time_t now; // seconds of the monotonic clock
static char date[64];

static void detach(struct connection* c) {
  c->previous->next = c->next;
  c->next->previous = c->previous;
}

static void append(struct connection* c) {
  c->previous = idle.previous, c->next = &idle;
  c->previous->next = c->next->previous = c;
}

// How many bytes of its answers the client has acknowledged.
static long long taken(const struct connection* c) {
  int waiting = 0;
  ioctl(c->fd, TIOCOUTQ, &waiting);
  return c->given - waiting;
}

static void note_useful(struct connection* c) {
  c->useful = now;
  detach(c);
  append(c);
}

static void drop(struct connection* c) {
  detach(c);
  if (c->file >= 0)
    close(c->file);
  close(c->fd); // leaves the epoll set by that
  free(c);
  --connections;
}

// Whether a connection has used up its time. One whose client takes an answer slowly, but takes it, has
// done something useful meanwhile.
static int overdue(struct connection* c) {
  const time_t silent = now - c->useful;
  if (c->out || c->file >= 0) {
    const long long progress = taken(c);
    if (c->progress < 0)
      c->progress = progress;
    if (progress - c->progress >= progress_bytes) {
      c->progress = progress;
      note_useful(c);
      return 0;
    }
    return silent > progress_seconds;
  }
  return c->begun ? now - c->begun > head_seconds : silent > idle_seconds;
}

static void drop_overdue(void) {
  struct connection* last = idle.previous; // those behind it are there because they were useful now
  for (struct connection *c = idle.next, *next; c != &idle; c = next) {
    next = c == last ? &idle : c->next;
    if (overdue(c))
      drop(c);
  }
}

// ------------------------------------------------------------- answering

static const char* http_date(time_t t, char* to, size_t size) {
  struct tm parts;
  strftime(to, size, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &parts));
  return to;
}

static const char* type_of(const char* path) {
  static const struct {
    const char *suffix, *type;
  } types[] = {
      {".html", "text/html; charset=utf-8"}, {".css", "text/css"},
      {".js", "text/javascript"},            {".json", "application/json"},
      {".txt", "text/plain; charset=utf-8"}, {".svg", "image/svg+xml"},
      {".png", "image/png"},                 {".jpg", "image/jpeg"},
      {".ico", "image/x-icon"},              {".wasm", "application/wasm"},
      {".woff2", "font/woff2"},              {".pdf", "application/pdf"},
  };
  const char* dot = strrchr(path, '.');
  for (size_t i = 0; dot && i < sizeof types / sizeof *types; ++i)
    if (!strcasecmp(dot, types[i].suffix))
      return types[i].type;
  return "application/octet-stream";
}

static void __attribute__((format(printf, 3, 4)))
begin(struct connection* c, const char* status, const char* more, ...) {
  c->out = (size_t)snprintf(c->answer, head_limit, "HTTP/1.1 %s\r\nServer: httpd\r\nDate: %s\r\n%s",
                            status, date, c->closing ? "Connection: close\r\n" : "");
  va_list list;
  va_start(list, more);
  c->out += (size_t)vsnprintf(c->answer + c->out, head_limit - c->out, more, list);
  va_end(list);
  c->sent = 0;
  note_useful(c); // a whole request came
  c->progress = -1;
}

static void refuse(struct connection* c, const char* status, int head_only) {
  begin(c, status, "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s%s",
        strlen(status) + 1, head_only ? "" : status, head_only ? "" : "\n");
}

// What a header's line says, up to its end; null if there is none.
static const char* header(const char* head, const char* name) {
  const size_t length = strlen(name);
  for (const char* line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n"))
    if (!strncasecmp(line + 2, name, length) && line[2 + length] == ':')
      return line + 3 + length + strspn(line + 3 + length, " \t");
  return NULL;
}

static int begins_with(const char* text, const char* word) {
  return text && !strncasecmp(text, word, strlen(word));
}

// Decodes %XX in place and cuts the query off. False: not a path within the folder.
static int clean(char* path) {
  char* to = path;
  for (const char* from = path; *from && *from != '?' && *from != '#'; ++from) {
    unsigned byte;
    if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
      *to++ = (char)byte;
      from += 2;
    } else {
      *to++ = *from;
    }
    if (to[-1] == 0)
      return 0;
  }
  *to = 0;
  return path[0] == '/' && !strstr(path, "/../") && (to - path < 3 || strcmp(to - 3, "/.."));
}

// "bytes=A-B", "bytes=A-" or "bytes=-N", one of them. False: out of the file.
static int range_of(const char* text, off_t size, off_t* begin, off_t* end) {
  long long a, b;
  if (sscanf(text, "bytes=-%lld", &a) == 1 && a > 0) {
    *begin = a < size ? size - a : 0, *end = size;
    return size > 0;
  }
  const int numbers = sscanf(text, "bytes=%lld-%lld", &a, &b);
  if (numbers < 1 || a < 0 || a >= size || (numbers == 2 && b < a))
    return 0;
  *begin = a, *end = numbers == 2 && b < size - 1 ? b + 1 : size;
  return 1;
}

// The file behind a path, or index.html in that folder. `path` begins with a slash.
static int open_file(const char* path, struct stat* s) {
  char name[1100];
  snprintf(name, sizeof name, ".%s%s", path, path[strlen(path) - 1] == '/' ? "index.html" : "");
  const int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && (fstat(fd, s) || !S_ISREG(s->st_mode))) {
    close(fd);
    errno = EACCES;
    return -1;
  }
  return fd;
}

static void answer_file(struct connection* c, const char* head, const char* path, int head_only) {
  struct stat s;
  const int fd = open_file(path, &s);
  if (fd < 0) {
    refuse(c, errno == EACCES ? "403 Forbidden" : "404 Not Found", head_only);
    return;
  }
  char modified[64], range[96] = "";
  http_date(s.st_mtime, modified, sizeof modified);
  const char* since = header(head, "If-Modified-Since");
  if (begins_with(since, modified)) {
    close(fd);
    begin(c, "304 Not Modified", "\r\n");
    return;
  }
  c->at = 0, c->end = s.st_size;
  const char* wanted = header(head, "Range");
  if (wanted && begins_with(wanted, "bytes=") && !memchr(wanted, ',', strcspn(wanted, "\r"))) {
    if (!range_of(wanted, s.st_size, &c->at, &c->end)) {
      close(fd);
      begin(c, "416 Range Not Satisfiable",
            "Content-Range: bytes */%lld\r\nContent-Length: 0\r\n\r\n", (long long)s.st_size);
      return;
    }
    snprintf(range, sizeof range, "Content-Range: bytes %lld-%lld/%lld\r\n", (long long)c->at,
             (long long)c->end - 1, (long long)s.st_size);
  }
  begin(c, *range ? "206 Partial Content" : "200 OK",
        "Content-Type: %s\r\nContent-Length: %lld\r\nLast-Modified: %s\r\n%s\r\n",
        type_of(path[strlen(path) - 1] == '/' ? ".html" : path), (long long)(c->end - c->at),
        modified, range);
  c->file = fd;
  if (head_only) {
    c->at = c->end;
  } else if (c->end - c->at <= small_file) {
    const ssize_t n = pread(fd, c->answer + c->out, (size_t)(c->end - c->at), c->at);
    c->at += n > 0 ? n : 0;
    c->out += n > 0 ? (size_t)n : 0;
  }
  if (c->at == c->end)
    close(fd), c->file = -1;
}

// Answers the request whose head (`length` bytes, ending in an empty line) is at the front.
static void answer(struct connection* c, size_t length) {
  char method[8], path[1024], version[12];
  char* head = c->request;
  const char behind = head[length];
  head[length] = 0;
  const int words = sscanf(head, "%7s %1023s %11s", method, path, version);
  const char* keep = header(head, "Connection");
  const int old = words == 3 && strcmp(version, "HTTP/1.1");
  c->closing = old ? !begins_with(keep, "keep-alive") : begins_with(keep, "close");
  const int head_only = !strcmp(method, "HEAD");
  if (words != 3 || strncmp(version, "HTTP/1.", 7) || header(head, "Transfer-Encoding") ||
      (header(head, "Content-Length") && !begins_with(header(head, "Content-Length"), "0\r"))) {
    c->closing = 1; // a body we do not read would be taken for the next request
    refuse(c, "400 Bad Request", head_only);
  } else if (!head_only && strcmp(method, "GET")) {
    refuse(c, "405 Method Not Allowed", 0);
  } else if (!clean(path)) {
    refuse(c, "400 Bad Request", head_only);
  } else {
    answer_file(c, head, path, head_only);
  }
  head[length] = behind;
  c->got -= length;
  memmove(head, head + length, c->got);
  c->begun = c->got ? now : 0;
}

// ------------------------------------------------------------- connections

// Sends what there is. 1: all of it is gone, 0: no room now, -1: the connection is.
static int push(struct connection* c) {
  while (c->sent < c->out) {
    const ssize_t n = send(c->fd, c->answer + c->sent, c->out - c->sent,
                           MSG_NOSIGNAL | (c->file >= 0 ? MSG_MORE : 0));
    if (n < 0)
      return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -1;
    c->sent += (size_t)n;
    c->given += n;
  }
  while (c->file >= 0 && c->at < c->end) {
    const ssize_t n = sendfile(c->fd, c->file, &c->at, (size_t)(c->end - c->at));
    if (n < 0)
      return errno == EAGAIN ? 0 : -1;
    c->given += n;
    if (n == 0)
      return -1; // the file has become shorter: the length we gave is wrong
  }
  if (c->file >= 0)
    close(c->file), c->file = -1;
  c->out = c->sent = 0;
  return 1;
}

static void watch_output(struct connection* c, int wanted) {
  if (c->wants_output == wanted)
    return;
  c->wants_output = wanted;
  struct epoll_event e = {.events = wanted ? EPOLLOUT : EPOLLIN, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

// Goes on with a connection until it has to wait. False: it is over.
static int go_on(struct connection* c) {
  for (int turn = 0; turn < requests_a_turn; ++turn) {
    const int pushed = push(c);
    if (pushed <= 0) {
      watch_output(c, 1);
      return pushed == 0;
    }
    if (c->closing)
      return 0;
    c->request[c->got] = 0;
    const char* end = strstr(c->request, "\r\n\r\n");
    if (!end) {
      if (c->got == request_limit) {
        c->closing = 1;
        c->got = 0;
        refuse(c, "431 Request Header Fields Too Large", 0);
        continue;
      }
      const ssize_t n = recv(c->fd, c->request + c->got, request_limit - c->got, 0);
      if (n <= 0) {
        watch_output(c, 0);
        return n < 0 && errno == EAGAIN;
      }
      if (c->got == 0)
        c->begun = now;
      c->got += (size_t)n;
      continue;
    }
    answer(c, (size_t)(end - c->request) + 4);
  }
  // Others wait too. What is left in our buffer makes no event: being writable does.
  watch_output(c, 1);
  return 1;
}

static void serve(struct connection* c) {
  if (!go_on(c))
    drop(c);
}

// Not while events are at hand: one of them may be of a connection that gives way here.
static void welcome(void) {
  for (int i = 0; i < batch; ++i) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if ((errno == EMFILE || errno == ENFILE || errno == ENOMEM) && idle.next != &idle)
        drop(idle.next);
      return;
    }
    if (connections >= most_connections)
      drop(idle.next);
    struct connection* c = malloc(sizeof *c);
    if (!c) {
      close(fd);
      return;
    }
    ++connections;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd, c->file = -1;
    c->got = c->out = c->sent = 0;
    c->closing = c->wants_output = 0;
    c->given = c->progress = 0;
    c->useful = c->begun = now;
    append(c);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
      drop(c);
    else
      serve(c); // the request is often there already
  }
}

static int listen_on(int port) {
  const int kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, one = 1;
  // Both families, or IPv4 where there is no other: the port lies at the same place, the address is 0.
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  int fd = socket(AF_INET6, kind, 0);
  if (fd < 0) {
    any.sin6_family = AF_INET;
    fd = socket(AF_INET, kind, 0);
  }
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (const void*)&any, sizeof any) || listen(fd, 1024)) {
    perror("httpd: cannot listen");
    exit(1);
  }
  return fd;
}

static int stop_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void watch(int fd, void* mark) {
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = mark};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

// As many as memory has room for, unless told; each may have a file open beside its socket.
static void limit_connections(int wanted) {
  struct sysinfo memory = {0};
  struct rlimit files;
  sysinfo(&memory);
  getrlimit(RLIMIT_NOFILE, &files);
  const unsigned long long fit =
      (unsigned long long)memory.freeram * memory.mem_unit / memory_of_one;
  const rlim_t other_files = 16;
  rlim_t most = wanted > 0 ? (rlim_t)wanted : fit < 16 ? 16 : fit;
  if (most > (files.rlim_max - other_files) / 2)
    most = (files.rlim_max - other_files) / 2;
  if (files.rlim_cur < most * 2 + other_files) {
    files.rlim_cur = most * 2 + other_files;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  most_connections = (int)most;
}

static void read_clocks(void) {
  static time_t dated;
  struct timespec time_now;
  clock_gettime(CLOCK_MONOTONIC, &time_now);
  now = time_now.tv_sec;
  const time_t today = time(NULL);
  if (today != dated)
    http_date(dated = today, date, sizeof date);
}

int main(int argc, char** argv) {
  int port = 80, wanted = 0;
  const char* folder = "/srv";
  for (int option; (option = getopt(argc, argv, "p:d:c:")) != -1;) {
    if (option == 'p')
      port = atoi(optarg);
    else if (option == 'd')
      folder = optarg;
    else if (option == 'c')
      wanted = atoi(optarg);
    else
      return 2;
  }
  if (chdir(folder)) {
    perror(folder);
    return 1;
  }
  limit_connections(wanted);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  listener = listen_on(port);
  const int signals = stop_signals();
  static char stop;
  watch(listener, &listener);
  watch(signals, &stop);
  printf("httpd: serving %s on port %d, at most %d connections\n", folder, port, most_connections);
  fflush(stdout);
  for (;;) {
    struct epoll_event events[batch];
    const int n = epoll_wait(epoll, events, batch, idle.next == &idle ? -1 : 1000);
    const time_t then = now;
    read_clocks();
    int newcomers = 0;
    for (int i = 0; i < n; ++i) {
      if (events[i].data.ptr == &stop)
        return 0;
      if (events[i].data.ptr == &listener)
        newcomers = 1;
      else
        serve(events[i].data.ptr);
    }
    if (newcomers)
      welcome();
    if (now != then)
      drop_overdue();
  }
}
