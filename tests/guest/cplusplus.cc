// C++ in an application: what docs/adding-an-app.md says works, case by case.
// mem: 64
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <dirent.h>
#include <exception>
#include <filesystem>
#include <fstream>
#include <ftw.h>
#include <functional>
#include <future>
#include <iomanip>
#include <iostream>
#include <locale>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <regex>
#include <search.h>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <typeinfo>
#include <unistd.h>
#include <vector>

#include "tap.h"

namespace {

using namespace std::chrono_literals;

// --- static objects, which the end of the machine checks too

std::string order;

struct noted {
  explicit noted(char letter) : letter_(letter) { order += letter; }
  ~noted() {
    order += char(letter_ + 'a' - 'A');
    if (letter_ != 'A')
      return;
    // The last of all: with a wrong order the machine ends with a failure.
    if (order != "ABTtba") {
      printf("# destructors: %s\n", order.c_str());
      fflush(stdout);
      _exit(3);
    }
  }
  char letter_;
};
noted first('A');
noted second('B');

// --- classes

struct shape {
  virtual ~shape() = default;
  virtual int sides() const = 0;
};
struct coloured {
  virtual ~coloured() = default;
  int colour = 7;
};
struct square : shape, coloured {
  int sides() const override { return 4; }
};
struct circle : virtual shape {
  int sides() const override { return 0; }
};

void test_classes() {
  std::unique_ptr<shape> one = std::make_unique<square>();
  ok(one->sides() == 4, "a virtual function");
  auto* other = dynamic_cast<coloured*>(one.get());
  ok(other && other->colour == 7, "dynamic_cast across");
  ok(!dynamic_cast<circle*>(one.get()), "dynamic_cast refuses");
  ok(typeid(*one) == typeid(square) &&
         typeid(*one).name() == std::string("N12_GLOBAL__N_16squareE"),
     "typeid");
}

// --- memory

struct alignas(256) wide {
  char data[256];
};

void test_memory() {
  auto w = std::make_unique<wide>();
  ok(reinterpret_cast<uintptr_t>(w.get()) % 256 == 0, "new of an aligned type");
  bool thrown = false;
  volatile size_t much = size_t(1) << 46;
  try {
    delete[] new char[much];
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  ok(thrown, "new without memory throws bad_alloc");
  ok(!new (std::nothrow) char[much], "new (nothrow) returns null");
}

// --- exceptions

struct counted {
  static inline int live = 0;
  counted() { ++live; }
  counted(const counted&) { ++live; }
  ~counted() { --live; }
};

[[gnu::noinline]] int deep(int levels) {
  counted here;
  if (levels == 0)
    throw std::out_of_range("bottom");
  return deep(levels - 1) + 1;
}

void test_exceptions() {
  std::string what;
  try {
    deep(100);
  } catch (const std::logic_error& error) {
    what = error.what();
  }
  ok(what == "bottom" && counted::live == 0, "thrown through 100 frames, all destroyed");

  int value = 0;
  try {
    try {
      throw 42;
    } catch (...) {
      throw;
    }
  } catch (int n) {
    value = n;
  }
  ok(value == 42, "thrown again");

  std::exception_ptr kept;
  std::thread([&] {
    try {
      (void)std::vector<int>(3).at(5);
    } catch (...) {
      kept = std::current_exception();
    }
  }).join();
  bool carried = false;
  try {
    std::rethrow_exception(kept);
  } catch (const std::out_of_range&) {
    carried = true;
  }
  ok(carried, "an exception goes to another thread");

  try {
    try {
      throw std::runtime_error("inner");
    } catch (...) {
      std::throw_with_nested(std::logic_error("outer"));
    }
  } catch (const std::exception& error) {
    try {
      std::rethrow_if_nested(error);
    } catch (const std::runtime_error& inner) {
      what = inner.what();
    }
  }
  ok(what == "inner", "nested exceptions");
  ok(std::uncaught_exceptions() == 0, "none is left");
  ok(std::error_code(ENOENT, std::generic_category()).message() == strerror(ENOENT),
     "messages of error codes");
}

// --- static and thread-local objects

std::atomic<int> constructed;

int& guarded() {
  struct slow {
    slow() {
      std::this_thread::sleep_for(20ms);
      ++constructed;
    }
    int value = 5;
  };
  static slow one;
  return one.value;
}

int attempts;
int throwing_once() {
  struct fails {
    fails() {
      if (++attempts == 1)
        throw 1;
    }
    int value = 9;
  };
  static fails one;
  return one.value;
}

std::atomic<int> thread_objects, thread_objects_ended;
struct per_thread {
  per_thread() { ++thread_objects; }
  ~per_thread() { ++thread_objects_ended; }
  std::string text = "mine";
};
thread_local per_thread own;

pthread_key_t key;
int ended_before_key;

// From a function that the C library calls, through it.
template <class F>
bool comes_through(F call) {
  try {
    call();
  } catch (const char* what) {
    return what[0] == 'o';
  }
  return false;
}

int throwing_order(const void*, const void*) {
  throw "order";
}

void test_callbacks() {
  int numbers[] = {3, 1, 2};
  size_t count = 3;
  void* tree = nullptr;
  const auto kept = [](const void*, const void*) { return 1; };
  tsearch(&numbers[0], &tree, kept);
  ok(comes_through([&] { qsort(numbers, 3, sizeof(int), throwing_order); }), "qsort");
  ok(comes_through([&] {
       qsort_r(
           numbers, 3, sizeof(int), [](auto, auto, void*) -> int { throw "order"; }, nullptr);
     }),
     "qsort_r");
  ok(comes_through([&] { bsearch(numbers, numbers, 3, sizeof(int), throwing_order); }), "bsearch");
  ok(comes_through([&] { lfind(numbers, numbers, &count, sizeof(int), throwing_order); }), "lfind");
  ok(comes_through([&] { tsearch(&numbers[1], &tree, throwing_order); }), "tsearch");
  ok(comes_through([&] { tfind(&numbers[1], &tree, throwing_order); }), "tfind");
  ok(comes_through([&] { twalk(tree, [](auto, auto, auto) { throw "order"; }); }), "twalk");
  ok(comes_through([&] {
       nftw(
           "/", [](auto, auto, auto, auto) -> int { throw "order"; }, 5, 0);
     }),
     "nftw");
  ok(comes_through([&] {
       dirent** found;
       scandir(
           "/", &found, [](auto) -> int { throw "order"; }, nullptr);
     }),
     "scandir");
}

void test_static_and_thread_local() {
  std::vector<std::thread> threads;
  std::atomic<int> sum = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] { sum += guarded(); });
  for (auto& thread : threads)
    thread.join();
  ok(constructed == 1 && sum == 20, "four threads construct a local static once");

  bool thrown = false;
  try {
    throwing_once();
  } catch (int) {
    thrown = true;
  }
  ok(thrown && throwing_once() == 9 && attempts == 2, "one that threw is tried again");

  threads.clear();
  pthread_key_create(&key, [](void*) { ended_before_key = thread_objects_ended; });
  for (int i = 0; i < 3; ++i) {
    std::thread([i] {
      own.text += std::to_string(i);
      pthread_setspecific(key, &key);
    }).join();
  }
  ok(thread_objects == 3 && thread_objects_ended == 3, "thread_local objects come and go");
  ok(ended_before_key == 3, "before the pthread keys");
  static thread_local noted ours('T'); // for exit(), below
}

// --- threads

void test_threads() {
  std::mutex mutex;
  std::condition_variable changed;
  int ready = 0;
  std::thread peer([&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ready == 1; });
    ready = 2;
    changed.notify_all();
  });
  {
    std::unique_lock lock(mutex);
    ready = 1;
    changed.notify_all();
    ok(changed.wait_for(lock, 10s, [&] { return ready == 2; }), "condition_variable");
    const auto before = std::chrono::steady_clock::now();
    const bool came = changed.wait_for(lock, 30ms, [] { return false; });
    const auto took = std::chrono::steady_clock::now() - before;
    ok(!came && took >= 29ms && took < 5s, "condition_variable::wait_for runs out");
  }
  peer.join();

  std::recursive_mutex again;
  again.lock();
  ok(again.try_lock(), "recursive_mutex");
  std::timed_mutex timed;
  timed.lock();
  ok(!std::async(std::launch::async, [&] { return timed.try_lock_for(20ms); }).get(),
     "timed_mutex, async");
  std::shared_mutex shared;
  shared.lock_shared();
  ok(shared.try_lock_shared() &&
         !std::async(std::launch::async, [&] { return shared.try_lock(); }).get(),
     "shared_mutex");

  std::promise<std::string> promise;
  auto future = promise.get_future();
  std::thread([p = std::move(promise)]() mutable { p.set_value("kept"); }).join();
  ok(future.get() == "kept", "promise and future");

  std::once_flag flag;
  int calls = 0;
  for (int i = 0; i < 3; ++i)
    std::call_once(flag, [&] { ++calls; });
  ok(calls == 1, "call_once");

  std::once_flag retried;
  std::atomic<int> tried = 0, threw = 0, went_on = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      try {
        std::call_once(retried, [&] {
          const int turn = ++tried;
          std::this_thread::sleep_for(5ms); // the others come and wait
          if (turn < 3)
            throw turn;
        });
        ++went_on;
      } catch (int) {
        ++threw;
      }
    });
  for (auto& c : callers)
    c.join();
  ok(tried == 3 && threw == 2 && went_on == 2, "call_once tries again after an exception");

  std::atomic<int> number = 0;
  std::thread waker([&] {
    std::this_thread::sleep_for(10ms);
    number = 1;
    number.notify_one();
  });
  number.wait(0);
  waker.join();
  ok(number == 1, "atomic wait and notify");

  ok(std::thread::hardware_concurrency() == unsigned(sysconf(_SC_NPROCESSORS_ONLN)),
     "hardware_concurrency");
  bool stopped = false;
  {
    std::jthread runs([&](std::stop_token token) {
      while (!token.stop_requested())
        std::this_thread::sleep_for(1ms);
      stopped = true;
    });
  }
  ok(stopped, "jthread is asked to stop, and joined");

  auto pointer = std::make_shared<counted>();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([pointer] {
      for (int k = 0; k < 20000; ++k)
        std::shared_ptr<counted> copy = pointer;
    });
  }
  for (auto& thread : threads)
    thread.join();
  threads.clear();
  ok(pointer.use_count() == 1, "shared_ptr counts in four threads");
}

// --- the library

void test_library() {
  std::map<std::string, std::vector<int>> map;
  for (int i = 0; i < 1000; ++i)
    map[std::to_string(i % 10)].push_back(i);
  ok(map.size() == 10 && map["7"].back() == 997, "map, vector, string");
  std::function<int(int)> add = [&](int n) { return n + int(map.size()); };
  ok(add(1) == 11, "function");
  ok(std::regex_match("v12.5", std::regex("v([0-9]+)\\.([0-9]+)")), "regex");
  std::random_device random;
  ok(random() != random() || random() != random(), "random_device");
  ok(std::stod("2.5e3") == 2500 && std::to_string(1.5) == "1.500000", "numbers and strings");
}

void test_streams() {
  std::ostringstream out;
  out << std::hex << std::setw(6) << std::setfill('0') << 0xabc << ' ' << std::fixed
      << std::setprecision(3) << 3.14159 << ' ' << std::boolalpha << true;
  ok(out.str() == "000abc 3.142 true", "ostringstream");
  std::istringstream in("12 word 0.25 x");
  int number = 0;
  std::string word;
  double fraction = 0;
  ok(in >> number >> word >> fraction && number == 12 && word == "word" && fraction == 0.25,
     "istringstream");
  ok(!(in >> number), "istringstream refuses a letter");
  {
    std::ofstream file("/tmp/lines");
    file << "one\ntwo\n";
  }
  std::ifstream file("/tmp/lines");
  std::string line;
  std::getline(file, line);
  ok(line == "one" && std::getline(file, line) && line == "two" && !std::getline(file, line),
     "fstream");
  std::cout << "# cout: " << 42 << std::endl;
  std::cerr << "# cerr\n";
  ok(std::cout.good() && std::cerr.good(), "cout, cerr");
  std::wostringstream wide_out;
  wide_out << L"wide " << 7;
  ok(wide_out.str() == L"wide 7", "wide streams");
  std::tm date = {};
  std::istringstream("2026-11-27") >> std::get_time(&date, "%Y-%m-%d");
  std::ostringstream shown;
  shown << std::put_time(&date, "%d %b %Y");
  ok(shown.str() == "27 Nov 2026", "get_time, put_time");
}

void test_files() {
  namespace fs = std::filesystem;
  const fs::path top = fs::temp_directory_path() / ("files" + std::to_string(getpid()));
  ok(fs::create_directories(top / "a" / "b"), "create_directories");
  std::ofstream(top / "a" / "file") << "seven..";
  int seen = 0;
  uintmax_t octets = 0;
  for (const auto& entry : fs::recursive_directory_iterator(top)) {
    ++seen;
    octets += entry.is_regular_file() ? entry.file_size() : 0;
  }
  ok(seen == 3 && octets == 7, "recursive_directory_iterator");
  std::error_code error;
  fs::remove(top / "a", error);
  ok(error == std::errc::directory_not_empty, "remove says why not");
  fs::rename(top / "a" / "file", top / "moved");
  ok(fs::exists(top / "moved") && !fs::exists(top / "a" / "file"), "rename");
  ok(fs::remove_all(top) == 4 && !fs::exists(top), "remove_all");
}

void test_locale() {
  const auto& letters = std::use_facet<std::ctype<char>>(std::locale::classic());
  bool same = true;
  for (int c = 0; c < 128; ++c) {
    same &= letters.is(std::ctype_base::alpha, char(c)) == !!isalpha(c) &&
            letters.is(std::ctype_base::punct, char(c)) == !!ispunct(c) &&
            letters.is(std::ctype_base::space, char(c)) == !!isspace(c) &&
            letters.is(std::ctype_base::cntrl, char(c)) == !!iscntrl(c) &&
            letters.is(std::ctype_base::xdigit, char(c)) == !!isxdigit(c) &&
            letters.is(std::ctype_base::print, char(c)) == !!isprint(c) &&
            letters.toupper(char(c)) == toupper(c) && letters.tolower(char(c)) == tolower(c);
  }
  ok(same, "classes of characters");
  ok(std::use_facet<std::collate<char>>(std::locale()).compare("a", "a" + 1, "b", "b" + 1) < 0,
     "collation");
  ok(std::locale("C") == std::locale::classic(), "locale C");
  bool thrown = false;
  try {
    std::locale other("de_DE.UTF-8");
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  ok(thrown, "there is no other");
}

} // namespace

int main() {
  ok(order == "AB", "static objects are constructed in order");
  test_classes();
  test_memory();
  test_exceptions();
  test_callbacks();
  test_static_and_thread_local();
  test_threads();
  test_library();
  test_streams();
  test_files();
  test_locale();
  return finish_counted();
}
