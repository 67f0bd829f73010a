// How long a system takes to come up, by the clock: a Google Benchmark program that starts virtual
// machines. What to start is written by bench/bench_boot.py (which also counts, and prepares the
// network namespace that this program runs in), one block of lines a system:
//
//   system NAME
//   arg WORD                 QEMU's command line, one word a line
//   mark NAME ADDRESS        hex; when it is first executed is noted in a run of its own, under TCG
//   ready TEXT               on the console: the application can be asked
//   ask ADDRESS PORT         then `PING\r\n` is sent there, and `+PONG` ends the iteration;
//                            without it the machine's end does
//   count NAME NUMBER        passed on into the report
//   end
//
// Every iteration is a fresh QEMU; the time is the clock's from before its exec. Repetitions of all
// systems are interleaved at random. The marks are noted by a TCG plugin in a second run of each
// repetition, so that the first, whose total is the benchmark's time, runs without any help.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <netinet/tcp.h>
#include <optional>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

struct target {
  std::string name;
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> marks;
  std::string ready;
  std::string address;
  int port = 0;
  std::vector<std::pair<std::string, double>> counts;
};

std::string plugin; // of the marks; none: not noted

double now_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

constexpr double patience_ms = 60'000;

// One QEMU, its console on a pipe.
class machine {
public:
  explicit machine(const std::vector<std::string>& command) {
    int console[2];
    if (pipe2(console, O_CLOEXEC))
      std::abort();
    std::vector<char*> words;
    for (const std::string& word : command)
      words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    started_ = now_ms();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int nothing = open("/dev/null", O_RDWR);
      dup2(nothing, 0);
      dup2(console[1], 1);
      dup2(console[1], 2);
      execvp(words[0], words.data());
      _exit(127);
    }
    close(console[1]);
    console_ = console[0];
  }
  ~machine() {
    if (!ended_) {
      kill(pid_, SIGKILL);
      end();
    }
    close(console_);
  }
  machine(const machine&) = delete;

  double since_start() const { return now_ms() - started_; }
  double started() const { return started_; }
  long peak_kb() const { return usage_.ru_maxrss; }
  // Of QEMU, user and system: says more than the clock where the host has other things to do.
  double cpu_ms() const {
    const timeval &u = usage_.ru_utime, &s = usage_.ru_stime;
    return static_cast<double>(u.tv_sec + s.tv_sec) * 1e3 +
           static_cast<double>(u.tv_usec + s.tv_usec) * 1e-3;
  }
  const std::string& console() const { return text_; }

  // Reads the console until it holds `text`, or to its end if there is none. False: too long, or
  // ended without.
  bool wait_console(const std::string& text) {
    while (text.empty() || text_.find(text) == std::string::npos) {
      pollfd p{console_, POLLIN, 0};
      const double left = patience_ms - since_start();
      if (left <= 0 || poll(&p, 1, static_cast<int>(left)) <= 0)
        return false;
      char piece[4096];
      const ssize_t n = read(console_, piece, sizeof piece);
      if (n <= 0)
        return text.empty();
      text_.append(piece, static_cast<size_t>(n));
    }
    return true;
  }

  // Waits for QEMU to end. (Its end of the console closes on the way, and nothing else holds it.)
  void end() {
    int status;
    if (wait4(pid_, &status, 0, &usage_) == pid_)
      ended_ = true;
  }
  void stop() {
    kill(pid_, SIGTERM);
    end();
  }

private:
  pid_t pid_ = -1;
  int console_ = -1;
  bool ended_ = false;
  double started_ = 0;
  std::string text_;
  rusage usage_{};
};

bool ask(const target& t) {
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const timeval limit{10, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(t.port));
  inet_pton(AF_INET, t.address.c_str(), &to.sin_addr);
  char answer[16] = {};
  constexpr char question[] = "PING\r\n";
  const bool good = connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
                    write(s, question, sizeof question - 1) > 0 &&
                    read(s, answer, sizeof answer) > 0 && !strncmp(answer, "+PONG", 5);
  close(s);
  return good;
}

// From exec to what the system is for, in ms; nothing if it does not come to that.
std::optional<double> run(const target& t, machine& m) {
  if (!m.wait_console(t.ready))
    return {};
  if (!t.port) {
    m.end();
    return m.since_start();
  }
  if (!ask(t))
    return {};
  const double took = m.since_start();
  m.stop();
  return took;
}

// Milliseconds from exec to each mark.
std::vector<std::pair<std::string, double>> run_with_marks(const target& t) {
  char path[] = "/tmp/oblako-boot-marks-XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0)
    return {};
  close(fd);
  std::vector<std::string> command = t.command;
  std::string argument = plugin + ",count=0,out=" + path;
  for (const auto& [name, address] : t.marks)
    argument += ",at=" + name + ":" + address;
  command.insert(command.end(), {"-plugin", argument});
  std::vector<std::pair<std::string, double>> found;
  {
    machine m(command);
    if (const auto total = run(t, m)) {
      found.emplace_back("marked_run", *total);
      std::ifstream lines(path);
      for (std::string line; std::getline(lines, line);)
        for (const auto& [name, address] : t.marks) {
          const size_t time = line.find("\"ns\": ");
          if (line.find("\"event\": \"" + name + "\"") != std::string::npos &&
              time != std::string::npos)
            found.emplace_back(name, std::stod(line.substr(time + 6)) * 1e-6 - m.started());
        }
    }
  }
  unlink(path);
  return found;
}

void boot(benchmark::State& state, const target& t) {
  for (auto _ : state) {
    machine m(t.command);
    const auto took = run(t, m);
    if (!took) {
      state.SkipWithError(
          (t.name + " did not come up; its console ends with: " +
           m.console().substr(m.console().size() > 300 ? m.console().size() - 300 : 0))
              .c_str());
      return;
    }
    state.SetIterationTime(*took * 1e-3);
    state.counters["to_" + std::string(t.port ? "answer" : "power_off") + "_ms"] = *took;
    state.counters["qemu_cpu_ms"] = m.cpu_ms();
    state.counters["qemu_peak_kB"] = static_cast<double>(m.peak_kb());
  }
  if (!plugin.empty() && !t.marks.empty())
    for (const auto& [name, ms] : run_with_marks(t))
      state.counters[(name == "marked_run" ? name : "to_" + name) + "_ms"] = ms;
  for (const auto& [name, number] : t.counts)
    state.counters[name] = number;
}

std::vector<target> read_targets(const char* path) {
  std::vector<target> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t space = line.find(' ');
    const std::string key = line.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    std::istringstream words(rest);
    std::string first, second;
    if (key == "system") {
      out.emplace_back().name = rest;
      continue;
    }
    if (out.empty())
      continue;
    target& t = out.back();
    if (key == "arg") {
      t.command.push_back(rest);
    } else if (key == "ready") {
      t.ready = rest;
    } else if (key == "ask") {
      words >> t.address >> t.port;
    } else if (key == "mark" && words >> first >> second) {
      t.marks.emplace_back(first, second);
    } else if (key == "count") {
      const size_t last = rest.rfind(' ');
      t.counts.emplace_back(rest.substr(0, last), std::stod(rest.substr(last + 1)));
    }
  }
  return out;
}

} // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  benchmark::Initialize(&argc, argv);
  if (argc < 2) {
    fprintf(stderr, "usage: boot_bench [--benchmark_...] SYSTEMS [PLUGIN]   (see bench_boot.py)\n");
    return 2;
  }
  static const std::vector<target> targets = read_targets(argv[1]);
  if (argc > 2)
    plugin = argv[2];
  for (const target& t : targets)
    benchmark::RegisterBenchmark(t.name.c_str(), [&t](benchmark::State& state) { boot(state, t); })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
