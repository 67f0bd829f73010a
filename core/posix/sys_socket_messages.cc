// sendmsg, recvmsg and their forms for several messages.
#include "arch/x64/syscall_entry.hh"
#include "core/net/control_data.hh"
#include "core/posix/io_vector.hh"
#include "core/posix/socket_calls.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/thread.hh"
#include "core/time/clock.hh"
#include <sys/socket.h>
#include <time.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr unsigned max_messages = 1024;
// Linux's limit for what is sent along (net.core.optmem_max) is larger, but nothing needs more.
constexpr size_t max_control = 4096;

// Kernel memory for a message's control data. Errors: nomem.
result<mem::unique<uint8_t>> control_memory(size_t bytes) {
  auto* memory = static_cast<uint8_t*>(mem::allocate(bytes));
  if (!memory)
    return error::nomem;
  return mem::unique<uint8_t>(memory);
}

result<size_t> send_with_control(net::socket& s, net::socket::message& m, const msghdr& header) {
  const size_t bytes = header.msg_controllen;
  if (bytes > max_control)
    return error::nobufs;
  auto memory = TRY(control_memory(bytes));
  TRY(mem::copy_from_app(memory.get(), header.msg_control, bytes));
  net::control_data control(memory.get(), bytes);
  m.control = &control;
  return s.send(m);
}

// `header` gets what came along.
result<size_t> receive_with_control(net::socket& s, net::socket::message& m, msghdr& header) {
  const size_t room = min_of<size_t>(header.msg_controllen, max_control);
  auto memory = TRY(control_memory(room));
  net::control_data control(memory.get(), room);
  m.control = &control;
  const size_t received = TRY(s.receive(m));
  m.control = nullptr;
  TRY(mem::copy_to_app(header.msg_control, memory.get(), control.used()));
  header.msg_controllen = static_cast<socklen_t>(control.used());
  if (control.cut())
    m.out_flags |= MSG_CTRUNC;
  return received;
}

result<size_t> send_message(net::socket& s, const msghdr* app_header, int flags) {
  const msghdr header = TRY(mem::read_app(app_header));
  io_vector vector;
  auto buffers = TRY(vector.load(header.msg_iov, header.msg_iovlen));
  net::socket::message m{buffers, flags};
  net::socket_address to;
  if (header.msg_name && header.msg_namelen != 0) {
    TRY(read_address(to, header.msg_name, header.msg_namelen));
    m.address = &to;
  }
  if (!header.msg_control || header.msg_controllen == 0) [[likely]]
    return s.send(m);
  return send_with_control(s, m, header);
}

result<size_t> receive_message(net::socket& s, msghdr* app_header, int flags) {
  msghdr header = TRY(mem::read_app(app_header));
  io_vector vector;
  auto buffers = TRY(vector.load(header.msg_iov, header.msg_iovlen));
  net::socket::message m{buffers, flags};
  net::socket_address from;
  if (header.msg_name)
    m.address = &from;
  size_t received;
  if (header.msg_control && header.msg_controllen != 0) {
    received = TRY(receive_with_control(s, m, header));
  } else {
    received = TRY(s.receive(m));
    header.msg_controllen = 0;
  }
  if (header.msg_name) {
    if (static_cast<int>(header.msg_namelen) < 0)
      return error::inval;
    TRY(mem::copy_to_app(header.msg_name, &from.storage, min_of(header.msg_namelen, from.length)));
    header.msg_namelen = from.length;
  }
  header.msg_flags = m.out_flags | (flags & MSG_CMSG_CLOEXEC);
  TRY(mem::write_app(app_header, header));
  return received;
}

// What several messages come to: their number, or the error if there was not even one.
result<size_t> outcome(unsigned done, error failed) {
  return done != 0 || failed == error::none ? result<size_t>(done) : result<size_t>(failed);
}

result<size_t> send_messages(int fd, mmsghdr* app_list, unsigned count, int flags) {
  auto s = TRY(get_socket(fd));
  unsigned done = 0;
  for (; done < min_of(count, max_messages); ++done) {
    auto sent = send_message(*s.socket, &app_list[done].msg_hdr, flags);
    if (!sent.ok())
      return outcome(done, sent.code());
    TRY(mem::write_app(&app_list[done].msg_len, static_cast<unsigned>(*sent)));
    sched::yield_if_needed();
  }
  return size_t{done};
}

timespec left_until(uint64_t deadline) {
  const uint64_t now = time::monotonic_ns();
  return to_timespec(deadline > now ? deadline - now : 0);
}

result<size_t> receive_messages(int fd, mmsghdr* app_list, unsigned count, int flags,
                                timespec* app_timeout) {
  // As on Linux the timeout is looked at behind each message only, and not while one is waited for.
  const uint64_t deadline =
      app_timeout ? deadline_after(TRY(ns_from_app(app_timeout))) : time::no_deadline;
  auto s = TRY(get_socket(fd));
  unsigned done = 0;
  error failed = error::none;
  while (done < min_of(count, max_messages)) {
    const bool wait = done == 0 || !(flags & MSG_WAITFORONE);
    auto got = receive_message(*s.socket, &app_list[done].msg_hdr,
                               (flags & ~MSG_WAITFORONE) | (wait ? 0 : MSG_DONTWAIT));
    failed = got.code();
    if (!got.ok())
      break;
    TRY(mem::write_app(&app_list[done].msg_len, static_cast<unsigned>(*got)));
    ++done;
    sched::yield_if_needed();
    if (deadline != time::no_deadline && time::monotonic_ns() >= deadline)
      break;
  }
  if (app_timeout && done != 0)
    TRY(mem::write_app(app_timeout, left_until(deadline)));
  return outcome(done, failed);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_sendmsg, do_sendmsg);
extern "C" long do_sendmsg(int fd, const msghdr* header, int flags) {
  auto s = get_socket(fd);
  return to_syscall(s.ok() ? send_message(*s->socket, header, flags) : result<size_t>(s.code()));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_recvmsg, do_recvmsg);
extern "C" long do_recvmsg(int fd, msghdr* header, int flags) {
  auto s = get_socket(fd);
  return to_syscall(s.ok() ? receive_message(*s->socket, header, flags) : result<size_t>(s.code()));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_sendmmsg, do_sendmmsg);
extern "C" long do_sendmmsg(int fd, mmsghdr* list, unsigned count, int flags) {
  return to_syscall(send_messages(fd, list, count, flags));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_recvmmsg, do_recvmmsg);
extern "C" long do_recvmmsg(int fd, mmsghdr* list, unsigned count, int flags, timespec* timeout) {
  return to_syscall(receive_messages(fd, list, count, flags, timeout));
}
