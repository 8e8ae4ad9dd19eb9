// The order of one branch's pushes, whatever order their deliveries come in: webhooks may be late,
// doubled and out of order, so it is read off the chain of commits (before → after) and the
// sender's time of the push, never off the arrival. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "events/event.pb.h"
#include "events/principal.hpp"

namespace atlasflow {

struct PushOrder {
  std::string head;                   // commit of the newest push; empty before the first
  std::string before_head;            // what that push replaced
  std::int64_t head_pushed_at_s = 0;  // or found, at the latest; 0: unknown
  bool inferred = false;              // nobody told of the newest push: its commit was found
  std::deque<std::string> replaced;   // commits that a later push replaced, oldest first; bounded
  bool deleted = false;               // the branch; a push that does not make it anew is late
  Principal deleted_by;
};

// Why this push is older than what is known, or known itself, as a sentence; empty when it is news.
[[nodiscard]] std::string reason_if_late(const PushOrder& order, const pb::PushReceived& push);

// The same of a push that tells only where the branch stands (Push::only_news).
[[nodiscard]] std::string reason_if_known(const PushOrder& order, const pb::PushReceived& push);

void take(PushOrder& order, const pb::PushReceived& push);
void take(PushOrder& order, const pb::BranchDeleted& deletion);

}  // namespace atlasflow
