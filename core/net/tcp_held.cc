// What of an arriving segment is there already (patch 44): delivered to the socket, or held until
// what lies before it arrives. The acknowledgement names it (RFC 2883).
#include "core/base/types.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

uint32_t earlier(uint32_t a, uint32_t b) {
  return TCP_SEQ_LT(a, b) ? a : b;
}
uint32_t later(uint32_t a, uint32_t b) {
  return TCP_SEQ_LT(a, b) ? b : a;
}

// The octets that are held without a gap from `s` on; `s` becomes what follows them.
tcp_sack_range run_from(const tcp_seg*& s) {
  tcp_sack_range run = {s->tcphdr->seqno, s->tcphdr->seqno};
  for (; s && TCP_SEQ_LEQ(s->tcphdr->seqno, run.right); s = s->next)
    run.right = later(run.right, s->tcphdr->seqno + s->len);
  return run;
}

} // namespace
} // namespace oblako::net

using namespace oblako::net;

// Of several duplicate parts the first is reported.
extern "C" u8_t oblako_tcp_held(const tcp_pcb* c, u32_t left, u32_t right,
                                tcp_sack_range* duplicate, tcp_sack_range* around) {
  const bool named = c->flags & TF_SACK;
  if (TCP_SEQ_LT(left, c->rcv_nxt)) {
    if (named)
      *duplicate = {left, earlier(right, c->rcv_nxt)};
    return 0;
  }
  for (const tcp_seg* s = c->ooseq; s && TCP_SEQ_LT(s->tcphdr->seqno, right);) {
    const tcp_sack_range run = run_from(s);
    const tcp_sack_range common = {later(left, run.left), earlier(right, run.right)};
    if (!TCP_SEQ_LT(common.left, common.right))
      continue;
    if (named)
      *duplicate = common;
    *around = run;
    return common.left == left && common.right == right;
  }
  return 0;
}
