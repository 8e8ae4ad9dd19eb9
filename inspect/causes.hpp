// Why something is so: the chain of events from what set it off (a delivery, a command) to it.
// Follows the causation that each record carries, and, where a record carries none, the event
// before it in its own stream. Reads only; one thread.
#pragma once

#include <string>
#include <vector>

#include "inspect/log_view.hpp"
#include "inspect/state.hpp"

namespace atlasflow::inspect {

struct Link {
  storage::Record record;
  // The record names the one before it as its cause; else that only came before it in the stream.
  bool named_cause = false;
};
struct Explanation {
  std::string answer;       // a sentence: what is the case, and since which event
  std::vector<Link> chain;  // oldest first; empty when nothing ever happened to it
};

// subject: a deployment's id, a project's name, a hostname, or a microVM's id. As of the position.
[[nodiscard]] Result<Explanation> why(const LogView& view, const std::string& subject,
                                      Position position);

// The chain that ends in the record at the position, oldest first.
[[nodiscard]] Result<std::vector<Link>> causes_of(const LogView& view, Position position);

}  // namespace atlasflow::inspect
