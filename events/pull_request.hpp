// One pull request's deliveries in the order that GitHub gives them, whatever order they come in,
// and what follows from one. Each tells how the pull request stood at its time of change
// (`updated_at`, in whole seconds), so the newest one counts; within one second heads tell, and a
// closing wins: a preview that is missing is made by the next push, one that stayed serves on.
// Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "events/event.pb.h"
#include "events/principal.hpp"
#include "events/push.hpp"

namespace atlasflow {

struct ProjectHistory;

struct PullRequestState {
  std::string head;               // the newest that was deployed or waits for approval; empty: none
  std::int64_t updated_at_s = 0;  // of the newest delivery; 0: none
  std::string approved;           // the newest head of a fork that somebody approved
  std::string approved_by;        // who did
  std::deque<std::string> replaced;  // heads that a later one replaced, oldest first; bounded
  bool closed = false;
  Principal closed_by;
};

void take(PullRequestState& state, const pb::PushReceived& push);
void take(PullRequestState& state, const pb::PushIgnored& ignored);
void take(PullRequestState& state, const pb::PullRequestHeld& held);
void take(PullRequestState& state, const pb::PullRequestClosed& closed);

struct PullRequestVerdict {
  enum class Kind : std::uint8_t {
    unwanted,  // the project deploys no pull requests and knows none of that number: no event
    ignored,
    closes,
    held,  // a commit of a fork waits for an approval
    deploys,
  };
  Kind kind = Kind::ignored;
  std::string reason = {};       // of unwanted and ignored, as a sentence
  std::string approved_by = {};  // of deploys, when it is a fork's: the approval that holds
};

// Of a push with a pull request.
[[nodiscard]] PullRequestVerdict judge(const ProjectHistory& history, const Push& push);

struct Approval {
  std::int64_t number = 0;
  std::string sha = {};  // what was looked at; conflict when another commit waits by now
  std::string command_id = {};
};

// The deployment of the fork's commit that waits. not_found: there is none; conflict: why it can't
// be approved now.
[[nodiscard]] Result<pb::PushReceived> approved(const ProjectHistory& history,
                                                const Approval& approval, const Principal& by);

}  // namespace atlasflow
