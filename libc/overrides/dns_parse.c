/* Replaces musl's src/network/dns_parse.c, which reads beyond an answer's end: up to ten octets for
 * a record that ends early, so that what lay on the stack could become an address. Its callers
 * expand names within 512 octets, however long the answer is: a record with a name is theirs only
 * if the name lies within the answer. How many records are looked at is bounded by its length.
 * Spec: RFC 1035, 4.1. */
#include "lookup.h"
#include <resolv.h>

enum { header = 12, class_internet = 1, type_cname = 5, type_ptr = 12 };

static int get16(const unsigned char* at) {
  return at[0] << 8 | at[1];
}

/* How many octets a name takes if `more` follow it; negative if they do not. */
static int name_length(const unsigned char* at, const unsigned char* end, int more) {
  int length = dn_skipname(at, end);
  return length < 0 || end - at - length < more ? -1 : length;
}

/* What the name holds may end in a log or on a terminal. */
static int is_printable_name(const unsigned char* answer, const unsigned char* end,
                             const unsigned char* name) {
  char text[256];
  const char* c = text;
  if (__dn_expand(answer, end, name, text, sizeof text) < 0)
    return 0;
  while ((*c > ' ' && *c != 0x7f) || *c < 0)
    c++;
  return !*c;
}

int __dns_parse(const unsigned char* answer, int length,
                int (*callback)(void*, int, const void*, int, const void*), void* context) {
  enum { of_question = 4, of_record = 10 };
  const unsigned char *at = answer + header, *end = answer + length;
  int questions, records, n;
  if (length < header)
    return -1;
  if (answer[3] & 15)
    return 0;
  questions = get16(answer + 4);
  records = get16(answer + 6);
  for (; questions; questions--) {
    if ((n = name_length(at, end, of_question)) < 0)
      return -1;
    at += n + of_question;
  }
  for (; records; records--) {
    int type, class, bytes;
    if ((n = name_length(at, end, of_record)) < 0)
      return -1;
    at += n;
    type = get16(at);
    class = get16(at + 2);
    bytes = get16(at + 8);
    at += of_record;
    if (bytes > end - at)
      return -1;
    if (class == class_internet &&
        ((type != type_cname && type != type_ptr) || is_printable_name(answer, end, at)) &&
        callback(context, type, at, bytes, answer) < 0)
      return -1;
    at += bytes;
  }
  return 0;
}
