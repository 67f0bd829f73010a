/* TAP output for guest tests: plan(n), then n times ok(condition, "what"), then `return finish();`.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int tap_planned, tap_done, tap_failed;

static inline void plan(int count) {
  tap_planned = count;
  printf("1..%d\n", count);
  fflush(stdout);
}

static inline int ok_at(int condition, const char* what, const char* file, int line) {
  tap_done++;
  printf("%sok %d - %s\n", condition ? "" : "not ", tap_done, what);
  if (!condition) {
    tap_failed++;
    printf("# %s:%d (errno %d, %s)\n", file, line, errno, strerror(errno));
  }
  fflush(stdout);
  return condition;
}
#define ok(condition, what) ok_at(!!(condition), what, __FILE__, __LINE__)

static inline int finish(void) {
  if (tap_done != tap_planned)
    printf("# planned %d, ran %d\n", tap_planned, tap_done);
  return tap_failed || tap_done != tap_planned;
}

/* For programs that do not count ahead: prints the plan at the end, so one that stops early has
 * none. */
static inline int finish_counted(void) {
  tap_planned = tap_done;
  printf("1..%d\n", tap_planned);
  fflush(stdout);
  return finish();
}
