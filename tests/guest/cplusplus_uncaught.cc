// expect: 6
// An exception that nobody catches: std::terminate() is called where it is thrown, in whatever
// thread, and abort() ends the machine. The static object is not destroyed.
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

#include "tap.h"

namespace {

struct stays {
  ~stays() { _exit(0); }
} object;

[[noreturn]] void terminated() {
  std::string what;
  try {
    std::rethrow_exception(std::current_exception());
  } catch (const std::runtime_error& error) {
    what = error.what();
  }
  ok(what == "nobody's", "terminate() sees the exception");
  abort();
}

} // namespace

int main() {
  plan(1);
  std::set_terminate(terminated);
  std::thread([] { throw std::runtime_error("nobody's"); }).join();
  _exit(0);
}
