// Descriptors on their way through local sockets.
//
// A passed descriptor counts like one in the table, so its file stays open although the sender
// closes it. A socket whose every descriptor lies in queues that nobody can read any more would so
// live for ever: a cycle. collect() finds those. It looks at every socket that is on its way, so it
// runs when a local socket is closed or descriptors are passed, but only once for so many of these
// as there are sockets to look at, divided by a constant: each of them pays for a bounded number. A
// cycle that nothing of the kind follows is found by the next of them. In any case no more
// descriptors than RLIMIT_NOFILE are on their way at a time (ETOOMANYREFS), which bounds what is
// not found yet.
#include "core/base/late.hh"
#include "core/net/control_data.hh"
#include "core/net/unix_socket_internal.hh"

extern "C" {
[[gnu::weak]] long sys_geteuid();
[[gnu::weak]] long sys_getegid();
}

namespace oblako::net {
namespace {

using flight_list =
    boost::intrusive::list<unix_socket, boost::intrusive::base_hook<unix_flight_hook>>;
late<flight_list> flight_storage;
bool flight_made;
size_t files_in_flight;

flight_list& sockets_in_flight() {
  if (!flight_made) {
    flight_storage.construct();
    flight_made = true;
  }
  return *flight_storage;
}

// How many sockets each closing or passing pays for.
constexpr size_t sockets_paid_for = 64;
size_t payments; // since collect() ran last; guarded by unix_lock

unix_piece* doomed; // guarded by unix_lock
bool dropping;      // a thread is in drop_now()

} // namespace

// --- descriptors

result<void> passed_files::add(int fd) {
  auto f = TRY(posix::get_file(fd));
  posix::fd_table::held(f.get());
  files_[count_++] = f.get();
  return {};
}

passed_files::~passed_files() {
  for (size_t i = 0; i < count_; ++i)
    posix::fd_table::dropped(files_[i]);
}

result<mem::unique<passed_files>> passed_files::copy() const {
  auto made = TRY(mem::make<passed_files>());
  for (size_t i = 0; i < count_; ++i) {
    posix::fd_table::held(files_[i]);
    made->files_[made->count_++] = files_[i];
  }
  return made;
}

void passed_files::install(control_data& out, bool close_on_exec) {
  int numbers[most];
  const size_t wanted = min_of(count_, out.room() / sizeof(int));
  size_t given = 0;
  for (; given < wanted; ++given) {
    auto fd =
        posix::install_file(mem::ref<posix::file>::share(files_[given]),
                            close_on_exec ? posix::close_on_exec::yes : posix::close_on_exec::no);
    if (!fd.ok())
      break;
    numbers[given] = *fd;
  }
  if (given != 0)
    out.add(SOL_SOCKET, SCM_RIGHTS, numbers, given * sizeof(int));
  if (given < count_)
    out.note_cut();
}

unix_credentials own_credentials() {
  return {1, sys_geteuid ? static_cast<uint32_t>(sys_geteuid()) : 0,
          sys_getegid ? static_cast<uint32_t>(sys_getegid()) : 0};
}

// --- what lies where

namespace {

constexpr char unix_kind = 0;

unix_socket* as_unix_socket(posix::file& f) {
  return f.kind() == &unix_kind ? static_cast<unix_socket*>(&f) : nullptr;
}

} // namespace

const void* unix_socket::kind() const {
  return &unix_kind;
}

void unix_rights::entered(const unix_piece& p) {
  if (!p.files)
    return;
  files_in_flight += p.files->size();
  for (size_t i = 0; i < p.files->size(); ++i)
    if (unix_socket* s = as_unix_socket((*p.files)[i]))
      if (s->in_flight_++ == 0)
        sockets_in_flight().push_back(*s);
}

void unix_rights::left(const unix_piece& p) {
  if (!p.files)
    return;
  files_in_flight -= p.files->size();
  for (size_t i = 0; i < p.files->size(); ++i)
    if (unix_socket* s = as_unix_socket((*p.files)[i]))
      if (--s->in_flight_ == 0)
        sockets_in_flight().erase(sockets_in_flight().iterator_to(*s));
}

bool unix_rights::too_many() {
  unix_guard guard(unix_lock);
  if (sockets_in_flight().size() > sockets_paid_for)
    consider_collecting();
  return files_in_flight > posix::descriptors.limit();
}

// --- cycles

namespace {

// Calls visit() with every local socket that lies in the queues of `s`: its own, and those of the
// connections it has not accepted yet.
template <class Queues, class Visitor>
void for_each_held(Queues queues, Visitor visit) {
  queues([&](unix_piece* p) {
    for (; p; p = p->next)
      for (size_t i = 0; p->files && i < p->files->size(); ++i)
        if (unix_socket* s = as_unix_socket((*p->files)[i]))
          visit(*s);
  });
}

} // namespace

void unix_rights::consider_collecting() {
  if (++payments * sockets_paid_for < sockets_in_flight().size())
    return;
  payments = 0;
  collect();
}

void unix_rights::collect() {
  const auto held_by = [](unix_socket& s, auto visit) {
    for_each_held(
        [&s](auto see) {
          see(s.first_);
          for (unix_socket* child = s.accepted_first_; child; child = child->next_accepted_)
            see(child->first_);
        },
        visit);
  };
  // A candidate has no descriptor but those on their way. Nobody else can change that: for a new
  // number somebody would have to receive it, and that takes the lock.
  const auto is_candidate = [](const unix_socket& s) {
    return s.in_flight_ != 0 && s.descriptor_count() == s.in_flight_;
  };
  flight_list& all = sockets_in_flight();
  for (unix_socket& s : all) {
    s.unreached_ = s.in_flight_;
    s.reachable_ = false;
  }
  for (unix_socket& s : all)
    if (is_candidate(s))
      held_by(s, [](unix_socket& held) { --held.unreached_; });
  // Candidates that also lie in the queue of a socket that is none can be received, and so can all
  // that lies in their queues.
  unix_socket* next = nullptr;
  const auto reach = [&next](unix_socket& s) {
    if (s.reachable_)
      return;
    s.reachable_ = true;
    s.next_reachable_ = next;
    next = &s;
  };
  for (unix_socket& s : all)
    if (!is_candidate(s) || s.unreached_ != 0)
      reach(s);
  while (unix_socket* s = next) {
    next = s->next_reachable_;
    held_by(*s, reach);
  }
  // What nobody reaches, as a chain, since emptying queues changes the list.
  for (unix_socket& s : all) {
    if (s.reachable_)
      continue;
    s.next_reachable_ = next;
    next = &s;
  }
  while (unix_socket* s = next) {
    next = s->next_reachable_;
    drop_later(s->take_all_pieces());
    for (unix_socket* child = s->accepted_first_; child; child = child->next_accepted_)
      drop_later(child->take_all_pieces());
  }
}

// --- dropping

void drop_later(unix_piece* chain) {
  while (unix_piece* p = chain) {
    chain = p->next;
    p->next = doomed;
    doomed = p;
  }
}

// Freeing a piece may close a socket whose pieces are freed then, and so on: one after the other,
// not one inside the other.
void drop_now() {
  {
    unix_guard guard(unix_lock);
    if (dropping || !doomed)
      return;
    dropping = true;
  }
  for (;;) {
    unix_piece* p;
    {
      unix_guard guard(unix_lock);
      p = doomed;
      if (!p) {
        dropping = false;
        return;
      }
      doomed = p->next;
    }
    free_piece(p);
  }
}

} // namespace oblako::net
