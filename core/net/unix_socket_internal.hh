// The local socket, as the files that implement it see it. Private to core/net.
//
//   unix_socket.cc    making, closing, poll bits, options
//   unix_name.cc      names: bind(), and who is meant by one
//   unix_connect.cc   connect(), listen(), accept()
//   unix_transfer.cc  messages and the stream
//   unix_rights.cc    descriptors on their way (SCM_RIGHTS), and cycles of them
//
// One lock guards all local sockets: what is done under it is short. Nothing is closed under it,
// because closing a passed descriptor may close a local socket: what is to be dropped is moved to a
// list and dropped afterwards (drop_later(), drop_now()).
#pragma once

#include "core/fs/node.hh"
#include "core/mem/buffer_account.hh"
#include "core/net/socket.hh"
#include "core/net/unix_socket.hh"
#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <string.h>
#include <sys/un.h>

namespace oblako::net {

constexpr uint32_t unix_queue_limit = 212992; // bytes a receiver holds, as on Linux

extern sched::mutex unix_lock;
using unix_guard = sched::lock_guard<sched::mutex>;

struct unix_name {
  uint32_t length = 0; // of `text`; an abstract name begins with a zero byte
  char text[sizeof(sockaddr_un::sun_path)] = {};

  bool operator==(const unix_name& o) const {
    return length == o.length && memcmp(text, o.text, length) == 0;
  }
  bool is_path() const { return length != 0 && text[0] != 0; }
};
// Errors: inval.
result<unix_name> unix_name_from(const socket_address& a);
void unix_name_to(const unix_name& n, socket_address& out);

class unix_socket;

// Descriptors on their way, each counted as one (fd_table::held()). Dropping them may close files:
// not under unix_lock.
class passed_files : noncopyable {
public:
  using counts_as_buffer = void;
  static constexpr size_t most = 253; // Linux's SCM_MAX_FD
  ~passed_files();
  // Errors: badf.
  result<void> add(int fd);
  size_t size() const { return count_; }
  posix::file& operator[](size_t i) const { return *files_[i]; }
  // Gives them numbers and writes those; what finds no room or no number is dropped.
  void install(control_data& out, bool close_on_exec);
  // The same files once more (MSG_PEEK). Errors: nomem.
  result<mem::unique<passed_files>> copy() const;

private:
  posix::file* files_[most];
  size_t count_ = 0;
};

struct unix_credentials {
  int pid;
  uint32_t uid, gid;
};
unix_credentials own_credentials();

// Data in a receiver's queue: part of a stream, or one datagram.
struct unix_piece {
  unix_piece* next;
  uint32_t begin, end; // of what is left in data()
  unix_name from;      // datagrams only
  unix_credentials sender;
  mem::unique<passed_files> files;
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
};
// nullptr: no memory. `bytes` of data.
unix_piece* make_piece(size_t bytes);
void free_piece(unix_piece* p);

// Takes a chain of pieces over. Lock held.
void drop_later(unix_piece* chain);
// Frees what drop_later() was given. Lock not held.
void drop_now();

using unix_name_hook =
    boost::intrusive::set_base_hook<boost::intrusive::tag<struct by_name>,
                                    boost::intrusive::link_mode<boost::intrusive::normal_link>>;
using unix_flight_hook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<struct in_flight>,
                                     boost::intrusive::link_mode<boost::intrusive::normal_link>>;

class unix_socket final : public socket, public unix_name_hook, public unix_flight_hook {
public:
  unix_socket(int type, uint32_t status_flags);
  ~unix_socket() override;

  result<void> bind(const socket_address& local) override;
  result<void> connect(const socket_address& remote) override;
  result<void> listen(int backlog) override;
  result<mem::ref<socket>> accept(socket_address& peer, uint32_t flags) override;
  result<void> local_name(socket_address& out) override;
  result<void> peer_name(socket_address& out) override;
  result<void> shutdown(int how) override;
  result<size_t> send(message& m) override;
  result<size_t> receive(message& m) override;
  result<void> get_option(int level, int name, void* value, socklen_t& length) override;
  result<long> control(unsigned long request, void* app_argument) override;
  uint32_t poll_events() override { return __atomic_load_n(&events_, __ATOMIC_ACQUIRE); }
  const void* kind() const override;
  void closed() override;

  void pair_with(unix_socket& other);

private:
  friend struct unix_rights;
  friend struct key_of_unix_name;

  bool accepting() const override { return listening_; }
  bool is_stream() const { return type() != SOCK_DGRAM; }
  bool keeps_boundaries() const { return type() != SOCK_STREAM; }
  // All the memory that a piece takes.
  static uint32_t cost_of(const unix_piece& p);
  // True while it may be sent another piece: up to its limit, or its share of what is left for
  // buffers. The first is taken in any case.
  bool has_room() const {
    return queued_ < min_of<size_t>(unix_queue_limit, mem::buffers.share(1));
  }

  uint32_t current_events() const;
  void refresh(uint32_t again = 0);
  unix_piece* take_all_pieces();
  void drop_first();
  void append(unix_piece* p);
  result<void> choose_name(unix_name& n);
  void forget_name();
  result<void> connect_stream(unix_socket& listener);
  // Where a message goes. Errors: pipe, notconn, destaddrreq, connrefused.
  result<mem::ref<unix_socket>> receiver_for(const message& m, const unix_name& n,
                                             const fs::node* node);
  result<size_t> send_once(message& m, mem::unique<passed_files>& files,
                           const unix_credentials& sender);
  struct attachments;
  result<size_t> take(message& m, attachments& found);
  result<size_t> receive_data(message& m, attachments& found);

  // --- guarded by unix_lock
  unix_name name_;
  mem::ref<fs::node> node_;    // of a name that is a path
  mem::ref<unix_socket> peer_; // broken by whichever side is closed first
  unix_piece* first_ = nullptr;
  unix_piece* last_ = nullptr;
  uint32_t queued_ = 0; // what the pieces take
  bool bound_ = false, binding_ = false, listening_ = false, was_connected_ = false;
  bool finished_ = false, read_shut_ = false, write_shut_ = false;
  int backlog_ = 0, waiting_ = 0;
  unix_socket* accepted_first_ = nullptr; // connected, waiting for accept(); references held
  unix_socket* accepted_last_ = nullptr;
  unix_socket* next_accepted_ = nullptr;
  uint32_t events_; // atomic: read without the lock

  // --- for unix_rights.cc
  uint32_t in_flight_ = 0; // how often this socket lies in some queue
  // While collecting: how many of those are not in another candidate's queue.
  uint32_t unreached_ = 0;
  bool reachable_ = false;
  unix_socket* next_reachable_ = nullptr; // in a chain while collecting
};

// Who has that name: by its node if it has one. Lock held.
unix_socket* find_unix_name(const unix_name& n, const fs::node* node);
// The node of a name that is a path; null for an abstract one, or without a file system.
// Errors: noent and other errors of the path; connrefused (not a socket). Lock not held.
result<mem::ref<fs::node>> unix_name_node(const unix_name& n);

// Descriptors on their way through local sockets.
struct unix_rights {
  // A piece enters or leaves a queue. Lock held.
  static void entered(const unix_piece& p);
  static void left(const unix_piece& p);
  // True if no more may be passed for now.
  static bool too_many();
  // A local socket is closed, or descriptors are passed: now and then drops what only lies in
  // queues nobody can read any more. Lock held; then drop_now().
  static void consider_collecting();

private:
  static void collect();
};

} // namespace oblako::net
