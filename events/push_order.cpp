#include "events/push_order.hpp"

#include <algorithm>

#include "base/probe.hpp"

namespace atlasflow {
namespace {

constexpr std::size_t k_replaced_max = 1000;

// GitHub writes a missing commit as 40 zeros.
bool is_commit(const std::string& sha) {
  return !sha.empty() && sha.find_first_not_of('0') != std::string::npos;
}

std::string shortened(const std::string& sha) { return sha.substr(0, 7); }

void note_replaced(PushOrder& order, const std::string& sha) {
  if (!is_commit(sha)) return;
  if (std::find(order.replaced.begin(), order.replaced.end(), sha) != order.replaced.end()) return;
  order.replaced.push_back(sha);
  if (order.replaced.size() > k_replaced_max) order.replaced.pop_front();
}

// The branch was looked at while somebody told of it: the next look knows more.
std::string reason_if_overtaken(const PushOrder& order, const pb::PushReceived& found) {
  if (found.after() == order.head) return "commit " + shortened(found.after()) + " is known";
  const bool overtaken =
      found.before() != order.head || order.head_pushed_at_s >= found.inferred_at_s();
  ATLAS_PROBE(overtaken, "a delivery came while a branch's head was compared");
  return overtaken ? "the branch was pushed to while its head was compared" : "";
}

// The head was found there twice: all pushes up to the first time are its own, or before it.
std::string reason_if_before_found(const PushOrder& order, const pb::PushReceived& push) {
  if (push.after() == order.head) {
    ATLAS_PROBE(true, "a delivery came after the comparison had found its commit");
    return "commit " + shortened(push.after()) + " was found on the branch and is known";
  }
  if (push.pushed_at_s() == 0 || push.pushed_at_s() > order.head_pushed_at_s) return "";
  ATLAS_PROBE(true, "a delivery came after the comparison had found a later commit");
  return "late: commit " + shortened(order.head) + " was found on the branch after " +
         shortened(push.after()) + " had been pushed";
}

}  // namespace

std::string reason_if_late(const PushOrder& order, const pb::PushReceived& push) {
  if (order.deleted) {
    const bool newer = push.pushed_at_s() > order.head_pushed_at_s && order.head_pushed_at_s != 0;
    const bool older = push.pushed_at_s() != 0 && push.pushed_at_s() < order.head_pushed_at_s;
    const bool anew = newer || (!is_commit(push.before()) && !older);
    ATLAS_PROBE(anew, "a deleted branch was made anew");
    if (anew) return "";
    ATLAS_PROBE(true, "a push came after the deletion of its branch");
    return "late: the branch was deleted after commit " + shortened(push.after());
  }
  if (push.inferred_at_s() != 0) return reason_if_overtaken(order, push);
  if (order.inferred) {
    if (auto reason = reason_if_before_found(order, push); !reason.empty()) return reason;
  }
  if (order.head.empty() || push.before() == order.head) return "";
  const bool chained = !push.before().empty();
  if (chained && push.after() == order.head && push.before() == order.before_head) {
    ATLAS_PROBE(true, "a push was delivered again under another name");
    return "commit " + shortened(push.after()) + " was pushed already";
  }
  const bool timed = push.pushed_at_s() != 0 && order.head_pushed_at_s != 0;
  if (timed && push.pushed_at_s() > order.head_pushed_at_s) return "";
  if (timed && push.pushed_at_s() < order.head_pushed_at_s) {
    ATLAS_PROBE(true, "a push came after one that was pushed later, and its time told");
    return "late: commit " + shortened(order.head) + " was pushed after " + shortened(push.after());
  }
  // Of one second: nothing came before the push that made the branch.
  if (timed && chained && !is_commit(push.before())) {
    ATLAS_PROBE(true, "the push that made a branch came after a later one of the same second");
    return "late: commit " + shortened(push.after()) + " made the branch, which has moved on";
  }
  const bool replaced =
      std::find(order.replaced.begin(), order.replaced.end(), push.after()) != order.replaced.end();
  ATLAS_PROBE(chained && !replaced && push.forced(),
              "a forced push went over a head that it does not name");
  if (!chained || !replaced) return "";
  ATLAS_PROBE(true, "a push came after one that had replaced its commit");
  return "late: commit " + shortened(push.after()) + " was replaced by a later push";
}

std::string reason_if_known(const PushOrder& order, const pb::PushReceived& push) {
  if (order.deleted || order.head != push.after()) return "";
  return "commit " + shortened(push.after()) + " is known: nothing was pushed since";
}

void take(PushOrder& order, const pb::PushReceived& push) {
  note_replaced(order, push.before());
  if (order.head != push.after()) note_replaced(order, order.head);
  std::erase(order.replaced, push.after());
  order.head = push.after();
  order.before_head = push.before();
  order.inferred = push.inferred_at_s() != 0;
  order.head_pushed_at_s =
      std::max({order.head_pushed_at_s, push.pushed_at_s(), push.inferred_at_s()});
  order.deleted = false;
}

void take(PushOrder& order, const pb::BranchDeleted& deletion) {
  note_replaced(order, deletion.before());
  note_replaced(order, order.head);
  order.deleted = true;
  // Who is not named in a log of an older build, whom only GitHub told.
  order.deleted_by = Principal::parsed(deletion.by()).value_or(Principal::webhook("github"));
}

}  // namespace atlasflow
