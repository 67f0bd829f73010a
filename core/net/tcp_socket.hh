// Stream sockets over TCP, on lwIP's raw API, and without lwIP between two sockets of this machine
// (local_connection.hh).
//
// A socket owns at most one of lwIP's control blocks (pcb_). lwIP frees them on its own: after an
// error, which it reports, and after TIME_WAIT, which it does not. So a socket lets go of its block
// at the latest when both directions are closed, and then lwIP finishes alone; what is still to be
// sent is held by the segments themselves (send_buffer.hh).
//
// Everything below `private` is guarded by the stack's lock, except events_, which poll_events()
// reads without.
#pragma once

#include "core/net/backlog.hh"
#include "core/net/inet_address.hh"
#include "core/net/local_connection.hh"
#include "core/net/poller.hh"
#include "core/net/socket.hh"
#include "core/net/stack.hh"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include <sys/epoll.h>

namespace oblako::net {

class tcp_socket final : public socket, public backlog_place {
public:
  // Errors: nomem.
  static result<mem::ref<tcp_socket>> make(int domain, uint32_t status_flags);
  tcp_socket(int domain, uint32_t status_flags);
  ~tcp_socket() override;

  result<void> bind(const socket_address& local) override;
  result<void> connect(const socket_address& remote) override;
  result<void> listen(int backlog) override;
  result<mem::ref<socket>> accept(socket_address& peer, uint32_t flags) override;
  result<void> local_name(socket_address& out) override;
  result<void> peer_name(socket_address& out) override;
  result<void> shutdown(int how) override;
  result<size_t> read(mem::io_buffers& to) override;
  result<size_t> write(mem::io_buffers& from) override;
  result<size_t> send(message& m) override;
  result<size_t> receive(message& m) override;
  result<void> set_option(int level, int name, const void* value, socklen_t length) override;
  result<void> get_option(int level, int name, void* value, socklen_t& length) override;
  result<long> control(unsigned long request, void* app_argument) override;

  uint32_t poll_events() override { return __atomic_load_n(&events_, __ATOMIC_ACQUIRE); }
  bool poll_sources() override;
  bool needs_network() const override { return !is_joined(); }
  void closed() override;
  // --- for /proc/net. Lock held.
  static uint8_t state_number(const tcp_pcb& c); // Linux's
  uint32_t unread() const { return received_bytes_; }
  uint32_t waiting() const;
  const endpoint& local() const { return local_; }
  const endpoint& remote() const { return remote_; }
  uint8_t local_state() const; // of a connection to another socket of this machine
  uint32_t unsent() const;

  // It has waited for room in a listener's backlog (backlog.hh). Lock held, lwIP not on the stack.
  void connect_again();

  // --- what a segment brought (tcp_predict.cc and the callbacks below). Lock held.
  void data_arrived(pbuf* data);
  void octets_arrived(size_t count);
  void sent_arrived(const tcp_pcb& c);
  // Something did not arrive, which may be why the connection ends (tcp_path.cc).
  void note_error(error e) { soft_error_ = static_cast<uint8_t>(e); }
  // Whether there is memory for so much data, or it has to be sent again later.
  bool may_take(size_t bytes) const;
  // It had not: who waits for SO_RCVLOWAT gets what there is.
  void refused_data() {
    if (settings_.low_water > 1)
      low_water_may_be_reached();
  }
  // True if nothing has moved for so long; asked while memory is short (memory_pressure.cc).
  bool without_progress(uint32_t ms);

  // SO_REUSEPORT: others may have the same address.
  bool shares_port() const { return settings_.reuse_port; }

private:
  friend bool given_up(const tcp_pcb& c);
  friend bool patience_ends(const tcp_pcb& c, uint32_t& due);
  friend bool held_back(const tcp_pcb& c, uint32_t& due);
  friend void hold_no_longer(tcp_pcb& c);
  friend void close_connections();

  enum class phase : uint8_t { fresh, bound, listening, connecting, connected, finished };

  error take_error() override;
  // Behind the end of the stream a reset is EPIPE, as on Linux.
  error reset_error() const { return peer_closed_ ? error::pipe : error::connreset; }
  bool accepting() const override { return phase_ == phase::listening; }
  void settings_changed() override;

  // --- lwIP's callbacks (tcp_events.cc). Context: lock held, inside lwIP.
  static err_t on_accept(void* self, tcp_pcb* connection, err_t e);
  static err_t on_connected(void* self, tcp_pcb* connection, err_t e);
  static err_t on_receive(void* self, tcp_pcb* connection, pbuf* data, err_t e);
  static err_t on_sent(void* self, tcp_pcb* connection, u16_t bytes);
  static void on_error(void* self, err_t e);
  // Takes over a control block, new or accepted.
  void adopt(tcp_pcb* connection);
  // Gives the block up; lwIP goes on without us.
  void let_go();

  uint32_t current_events() const;
  // Recomputes events_ and notifies of what is new, and of `again` even if it is not.
  void refresh(uint32_t again = 0);

  // --- opening and closing (tcp_socket.cc)
  result<void> ensure_block();
  // A port of 0 is chosen, for a connection `towards` there if given.
  result<void> bind_to(const endpoint& local, const endpoint* towards = nullptr);
  static bool port_used(uint16_t port, const void* towards);
  static bool address_taken(const tcp_pcb* self, const ip_addr_t& ip, uint16_t port,
                            const settings& wanted, bool listens);
  result<void> start_connecting(endpoint remote);
  result<void> connecting_or_error(const endpoint& remote);
  void disconnect();
  static result<mem::ref<tcp_socket>> make_accepted(const tcp_socket& listener);
  void enqueue_accepted(tcp_socket& connection);
  mem::ref<tcp_socket> take_accepted();
  // While listening.
  tcp_pcb_listen& listener() const { return *reinterpret_cast<tcp_pcb_listen*>(pcb_); }
  void stop_listening();
  void close_block();
  void linger();
  void free_received();
  void shut_write();

  // --- connections to other sockets of this machine (tcp_loopback.cc)
  // To another socket of this machine; also without the lock.
  bool is_joined() const { return __atomic_load_n(&connection_, __ATOMIC_RELAXED) != nullptr; }
  void refuse();
  void release_block();
  static bool connection_exists(const endpoint& local, const endpoint& remote);
  result<void> connect_locally(const endpoint& remote);
  result<void> join(tcp_socket& listener, const endpoint& local, const endpoint& remote);
  tcp_socket* other_end() const;
  void leave_connection();
  void connection_reset();
  void end_stream();
  void close_connection(bool reset);
  size_t receive_share(const tcp_socket& reader) const;
  size_t room_there(const tcp_socket& other) const;
  result<size_t> hand_over(mem::io_buffers& from);
  result<size_t> hand_over_whole(mem::io_buffers& from);
  result<size_t> take_over(mem::io_buffers& from, size_t bytes);
  void room_made();
  bool writer_is_full() const;

  // Waits for what another socket of this machine, or the network, brings.
  template <class Predicate>
  result<void> wait_until(Predicate predicate, uint64_t deadline) {
    return is_joined() ? sched::wait_until(readiness(), predicate, deadline)
                       : net::wait_until(readiness(), predicate, deadline);
  }

  // --- transfer (tcp_transfer.cc)
  result<size_t> take_received(mem::io_buffers& to, int flags);
  void consumed(size_t bytes);
  void consider_window();
  void resize_window(uint32_t bytes);
  void low_water_may_be_reached();
  // Nothing is left to read.
  void input_taken() {
    if (phase_ != phase::connected || peer_closed_ || read_shut_) [[unlikely]]
      return refresh();
    // What refresh() finds then.
    __atomic_store_n(&events_, events_ & ~uint32_t{EPOLLIN | EPOLLRDNORM}, __ATOMIC_RELEASE);
  }
  static size_t space_left(size_t used, size_t limit);
  size_t send_space() const;
  size_t in_flight() const { return TCP_SND_BUF - pcb_->snd_buf; }
  // The same with what it takes beside: an octet in a segment of its own takes a packet buffer and
  // a record.
  size_t send_used() const {
    constexpr size_t buffer_overhead = 384;
    return in_flight() + pcb_->snd_queuelen * buffer_overhead;
  }
  size_t give_back_less(size_t bytes);
  // Moves a packet's data into the last buffer that waits to be read, if it has room.
  bool merge_behind(pbuf& last, pbuf* data);
  size_t send_limit() const;
  result<void> can_send();
  bool fits_now(size_t bytes, bool more) const;
  result<size_t> send_at_once(mem::io_buffers& from);
  result<size_t> queue_some(mem::io_buffers& from, bool more);
  result<size_t> queue_small(mem::io_buffers& from, size_t bytes, bool more);
  result<size_t> queue_large(mem::io_buffers& from, size_t bytes, bool more);
  void push(bool more);
  bool has_input() const { return received_ != nullptr; }
  uint32_t most_to_wait_for() const;
  // As much as SO_RCVLOWAT asks for, or as there is room for.
  bool has_enough() const {
    return has_input() &&
           (settings_.low_water <= 1 || received_bytes_ >= most_to_wait_for() || writer_is_full());
  }

  result<void> set_tcp_option(int name, int value);
  result<void> get_tcp_option(int name, void* value, socklen_t& length);
  void fill_info(void* value, socklen_t& length);
  void apply_options();

  tcp_pcb* pcb_ = nullptr; // a tcp_pcb_listen while listening
  phase phase_ = phase::fresh;
  bool peer_closed_ = false; // its FIN came
  bool read_shut_ = false, write_shut_ = false;
  bool full_ = false; // the send queue ran full; writable again when a third is free
  bool only_ipv6_ = false;
  bool no_delay_ = false;
  bool cork_ = false;
  bool lingering_ = false;      // close() waits until all is acknowledged
  bool unreported_ = false;     // connect() has not said yet that it succeeded
  uint8_t soft_error_ = 0;      // what was reported since something arrived last
  error pending_ = error::none; // SO_ERROR
  uint32_t events_ = 0;

  pbuf* received_ = nullptr; // pbufs linked by `next`, first one possibly begun
  pbuf* received_last_ = nullptr;
  uint32_t received_bytes_ = 0;
  uint32_t drained_ = 0; // bytes read since the window was last considered
  uint32_t corked_bytes_ = 0;
  uint32_t held_since_ = 0; // TCP's clock
  bool held_back_ = false;  // less than a segment waits for more

  endpoint local_, remote_;
  local_connection* connection_ = nullptr; // then pcb_ is null

  uint32_t user_timeout_ms_ = 0;
  uint32_t progress_ = 0; // when the peer last acknowledged something, or the queue was empty
  // What the search for connections without progress last saw, and since when (memory_pressure.cc).
  uint32_t seen_ = 0, seen_since_ = 0;
  uint16_t keep_idle_ = 7200, keep_interval_ = 75; // seconds
  uint8_t keep_count_ = 9;                         // probes
  uint8_t time_to_live_ = 64, type_of_service_ = 0;
};

static_assert(sizeof(tcp_socket) <= 304); // the heap has a size for it

inline void tcp_socket::data_arrived(pbuf* data) {
  if (received_last_ && merge_behind(*received_last_, data))
    return;
  const size_t count = data->tot_len;
  (received_last_ ? received_last_->next : received_) = data;
  while (data->next)
    data = data->next;
  received_last_ = data;
  octets_arrived(count);
}

// They are in the queue already.
inline void tcp_socket::octets_arrived(size_t count) {
  constexpr uint32_t input = EPOLLIN | EPOLLRDNORM;
  received_bytes_ += static_cast<uint32_t>(count);
  note_delivery();
  if (settings_.low_water > 1) [[unlikely]]
    return low_water_may_be_reached();
  // What refresh(input) finds: there is input, and nothing else has changed.
  if ((events_ & input) != input)
    __atomic_store_n(&events_, events_ | input, __ATOMIC_RELEASE); // pairs with poll_events()
  readiness().wake_all(input);
}

inline void tcp_socket::sent_arrived(const tcp_pcb& c) {
  soft_error_ = 0;
  progress_ = tcp_ticks;
  if (full_ && send_used() <= send_limit() / 3 * 2) {
    full_ = false;
    refresh();
  }
  if (lingering_ && !c.unacked && !c.unsent) [[unlikely]]
    readiness().wake_all(0);
}

} // namespace oblako::net
