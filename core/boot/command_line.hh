// Splitting a command line into words with shell-like quotes, and the application's arguments.
#pragma once

#include "core/log/log.hh"
#include <stddef.h>

namespace oblako::boot {

// Splits in place: '...' is literal, "..." knows \" and \\, outside quotes \ takes the next
// character. No variables, no globs.
class word_splitter {
public:
  explicit word_splitter(char* text) : next_(text) {}

  // The next word, zero-terminated, or nullptr.
  char* next() {
    while (is_space(*next_))
      ++next_;
    if (!*next_)
      return nullptr;
    char* const word = next_;
    char* to = word;
    char quote = 0;
    for (; *next_ && (quote || !is_space(*next_)); ++next_) {
      char c = *next_;
      if (c == quote) {
        quote = 0;
        continue;
      }
      if (!quote && (c == '\'' || c == '"')) {
        quote = c;
        continue;
      }
      if (c == '\\' && quote != '\'' && next_[1] && (!quote || next_[1] == '"' || next_[1] == '\\'))
        c = *++next_;
      *to++ = c;
    }
    unterminated_ = unterminated_ || quote;
    if (*next_)
      ++next_;
    *to = 0;
    return word;
  }
  bool unterminated_quote() const { return unterminated_; }

private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  char* next_;
  bool unterminated_ = false;
};

constexpr size_t max_arguments = 256;

struct arguments {
  const char* words[max_arguments] = {};
  size_t count = 0;
  void add(const char* word) {
    if (count < max_arguments)
      words[count++] = word;
    else
      log::warning("more than %zu application arguments; '%s' ignored", max_arguments, word);
  }
};

// Takes the options out (options.hh) and adds the words behind `--` to `out`. The text must stay.
void parse_command_line(char* text, arguments& out);
// Calls f for every env.NAME=VALUE option; returns how many there are.
size_t environment_options(void (*f)(const char* name, const char* value, void*), void* context);

} // namespace oblako::boot
