// Socket options, ioctl and TCP_INFO of stream sockets.
#include "core/net/policy.hh"
#include "core/net/poller.hh"
#include "core/net/tcp_socket.hh"

#include "core/net/interface_query.hh"
#include "core/net/path_mtu.hh"
#include "core/net/port.hh"
#include "core/net/stack.hh"
#include "core/net/timers.hh"
#include "lwip/priv/tcp_priv.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

namespace oblako::net {
namespace {

bool in_range(int value, int low, int high) {
  return value >= low && value <= high;
}

} // namespace

uint8_t tcp_socket::state_number(const tcp_pcb& c) {
  switch (c.state) {
  case LISTEN:
    return TCP_LISTEN;
  case SYN_SENT:
    return TCP_SYN_SENT;
  case SYN_RCVD:
    return TCP_SYN_RECV;
  case ESTABLISHED:
    return TCP_ESTABLISHED;
  case FIN_WAIT_1:
    return TCP_FIN_WAIT1;
  case FIN_WAIT_2:
    return TCP_FIN_WAIT2;
  case CLOSE_WAIT:
    return TCP_CLOSE_WAIT;
  case CLOSING:
    return TCP_CLOSING;
  case LAST_ACK:
    return TCP_LAST_ACK;
  case TIME_WAIT:
    return TCP_TIME_WAIT;
  default:
    return TCP_CLOSE;
  }
}

uint32_t tcp_socket::waiting() const {
  return phase_ == phase::listening ? listener().accepts_pending : 0;
}

void tcp_socket::settings_changed() {
  stack_guard guard;
  if (pcb_)
    apply_options();
}

// Carries the options over to the control block, whichever kind it is at the moment.
void tcp_socket::apply_options() {
  if (settings_.keepalive)
    ip_set_option(pcb_, SOF_KEEPALIVE);
  else
    ip_reset_option(pcb_, SOF_KEEPALIVE);
  pcb_->ttl = time_to_live_;
  pcb_->tos = type_of_service_;
  if (phase_ == phase::listening)
    return;
  if (settings_.reuse_address || settings_.reuse_port)
    ip_set_option(pcb_, SOF_REUSEADDR); // what address_taken() sees of a closed socket
  else
    ip_reset_option(pcb_, SOF_REUSEADDR);
  if (no_delay_)
    tcp_nagle_disable(pcb_);
  else
    tcp_nagle_enable(pcb_);
  pcb_->keep_idle = u32_t{keep_idle_} * 1000;
  pcb_->keep_intvl = u32_t{keep_interval_} * 1000;
  pcb_->keep_cnt = keep_count_;
  note_tcp_activity(*pcb_); // keepalive may have to be timed now
}

namespace {
// As long as Linux's answer.
constexpr char congestion_name[16] = "cubic";
static_assert(__builtin_strcmp(congestion_name, congestion_control) == 0);

// Errors: inval (no name); noent (there is no other).
result<void> check_congestion_control(const char* name, size_t length) {
  constexpr size_t size = sizeof congestion_control - 1;
  if (length == 0)
    return error::inval;
  if (length < size || memcmp(name, congestion_control, size) != 0 ||
      (length > size && name[size] != 0))
    return error::noent;
  return {};
}
} // namespace

result<void> tcp_socket::set_option(int level, int name, const void* value, socklen_t length) {
  if (level == SOL_SOCKET)
    return socket::set_option(level, name, value, length);
  if (level == IPPROTO_TCP) {
    if (name == TCP_CONGESTION)
      return check_congestion_control(static_cast<const char*>(value), length);
    if (name == TCP_ULP)
      return error::noprotoopt;
    const int number = TRY(option_int(value, length));
    stack_guard guard;
    return set_tcp_option(name, number);
  }
  if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
    const int number = TRY(option_int(value, length));
    stack_guard guard;
    if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
      if (domain() != AF_INET6 || phase_ != phase::fresh)
        return error::inval;
      only_ipv6_ = number != 0;
    } else if ((level == IPPROTO_IP && name == IP_TTL) ||
               (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS)) {
      if (number != -1 && !in_range(number, 1, 255))
        return error::inval;
      time_to_live_ = number == -1 ? 64 : static_cast<uint8_t>(number);
    } else if ((level == IPPROTO_IP && name == IP_TOS) ||
               (level == IPPROTO_IPV6 && name == IPV6_TCLASS)) {
      type_of_service_ = static_cast<uint8_t>(number);
    } else if ((level == IPPROTO_IP && name == IP_MTU_DISCOVER) ||
               (level == IPPROTO_IPV6 && name == IPV6_MTU_DISCOVER)) {
      // A stream's segments are always what the path takes.
      return in_range(number, IP_PMTUDISC_DONT, IP_PMTUDISC_OMIT) ? result<void>()
                                                                  : result<void>(error::inval);
    } else {
      return error::noprotoopt;
    }
    if (pcb_)
      apply_options();
    return {};
  }
  return error::noprotoopt;
}

result<void> tcp_socket::set_tcp_option(int name, int value) {
  switch (name) {
  case TCP_NODELAY:
    no_delay_ = value != 0;
    break;
  case TCP_CORK:
    cork_ = value != 0;
    break;
  case TCP_KEEPIDLE:
    if (!in_range(value, 1, 32767))
      return error::inval;
    keep_idle_ = static_cast<uint16_t>(value);
    break;
  case TCP_KEEPINTVL:
    if (!in_range(value, 1, 32767))
      return error::inval;
    keep_interval_ = static_cast<uint16_t>(value);
    break;
  case TCP_KEEPCNT:
    if (!in_range(value, 1, 127))
      return error::inval;
    keep_count_ = static_cast<uint8_t>(value);
    break;
  case TCP_USER_TIMEOUT:
    if (value < 0)
      return error::inval;
    user_timeout_ms_ = static_cast<uint32_t>(value);
    progress_ = tcp_ticks;
    if (pcb_ && phase_ != phase::listening)
      note_tcp_activity(*pcb_);
    return {};
  case TCP_MAXSEG:
  case TCP_SYNCNT:
  case TCP_DEFER_ACCEPT:
  case TCP_FASTOPEN:
  case TCP_QUICKACK:
  case TCP_WINDOW_CLAMP:
  case TCP_LINGER2:
  case TCP_NOTSENT_LOWAT:
    return {}; // hints; the defaults are as good
  default:
    return error::noprotoopt;
  }
  if (pcb_)
    apply_options();
  // Without Nagle or the cork, what was held back may go.
  if (pcb_ && phase_ == phase::connected && (no_delay_ || !cork_)) {
    corked_bytes_ = 0;
    held_back_ = false;
    tcp_output(pcb_);
  }
  return {};
}

result<void> tcp_socket::get_option(int level, int name, void* value, socklen_t& length) {
  if (level == SOL_SOCKET)
    return socket::get_option(level, name, value, length);
  stack_guard guard;
  if (level == IPPROTO_TCP)
    return get_tcp_option(name, value, length);
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
    return give_option_int(value, length, only_ipv6_);
  if ((level == IPPROTO_IP && name == IP_TTL) ||
      (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS))
    return give_option_int(value, length, time_to_live_);
  if ((level == IPPROTO_IP && name == IP_TOS) || (level == IPPROTO_IPV6 && name == IPV6_TCLASS))
    return give_option_int(value, length, type_of_service_);
  if ((level == IPPROTO_IP && name == IP_MTU_DISCOVER) ||
      (level == IPPROTO_IPV6 && name == IPV6_MTU_DISCOVER))
    return give_option_int(value, length, IP_PMTUDISC_WANT);
  if ((level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU))
    return phase_ == phase::connected
               ? give_option_int(value, length, path_mtu_between(local_.ip, remote_.ip))
               : result<void>(error::notconn);
  return error::noprotoopt;
}

result<void> tcp_socket::get_tcp_option(int name, void* value, socklen_t& length) {
  switch (name) {
  case TCP_NODELAY:
    return give_option_int(value, length, no_delay_);
  case TCP_CORK:
    return give_option_int(value, length, cork_);
  case TCP_KEEPIDLE:
    return give_option_int(value, length, keep_idle_);
  case TCP_KEEPINTVL:
    return give_option_int(value, length, keep_interval_);
  case TCP_KEEPCNT:
    return give_option_int(value, length, keep_count_);
  case TCP_USER_TIMEOUT:
    return give_option_int(value, length, static_cast<int>(user_timeout_ms_));
  case TCP_MAXSEG:
    return give_option_int(value, length,
                           connection_                          ? TCP_MSS
                           : pcb_ && phase_ == phase::connected ? pcb_->mss
                                                                : 536);
  case TCP_INFO:
    fill_info(value, length);
    return {};
  case TCP_QUICKACK:
    return give_option_int(value, length, 1);
  case TCP_DEFER_ACCEPT:
  case TCP_FASTOPEN:
    return give_option_int(value, length, 0);
  case TCP_CONGESTION:
    return give_option(value, length, congestion_name, sizeof congestion_name);
  default:
    return error::noprotoopt;
  }
}

void tcp_socket::fill_info(void* value, socklen_t& length) {
  struct tcp_info info = {};
  info.tcpi_state = pcb_ ? state_number(*pcb_) : connection_ ? local_state() : uint8_t{TCP_CLOSE};
  if (connection_) {
    info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = TCP_MSS;
    info.tcpi_unacked = unsent() / TCP_MSS;
    info.tcpi_rcv_space = tcp_buffers.base;
  }
  if (pcb_ && phase_ == phase::connected) {
    info.tcpi_retransmits = pcb_->nrtx;
    info.tcpi_rto = static_cast<uint32_t>(pcb_->rto) * 1000;
    info.tcpi_rtt = static_cast<uint32_t>(pcb_->sa >> 3) * 1000;
    info.tcpi_rttvar = static_cast<uint32_t>(pcb_->sv >> 2) * 1000;
    info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = pcb_->mss;
    info.tcpi_snd_cwnd = pcb_->cwnd / pcb_->mss;
    info.tcpi_snd_ssthresh = pcb_->ssthresh / pcb_->mss;
    info.tcpi_unacked = static_cast<uint32_t>(in_flight()) / pcb_->mss;
    info.tcpi_rcv_space = pcb_->rcv_wnd_max;
  }
  (void)give_option(value, length, &info, sizeof info);
}

result<long> tcp_socket::control(unsigned long request, void* app_argument) {
  int number;
  switch (request) {
  case FIONREAD: {
    if (!is_joined())
      poll(); // what has arrived but not been looked at counts
    stack_guard guard;
    if (phase_ == phase::listening)
      return error::inval;
    number = static_cast<int>(received_bytes_);
    break;
  }
  case TIOCOUTQ: {
    stack_guard guard;
    number = static_cast<int>(pcb_ && phase_ == phase::connected ? in_flight() : unsent());
    break;
  }
  default:
    return interface_control(request, app_argument);
  }
  TRY(mem::write_app(static_cast<int*>(app_argument), number));
  return 0;
}

} // namespace oblako::net
