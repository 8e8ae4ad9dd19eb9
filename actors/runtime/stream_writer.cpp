#include "actors/runtime/stream_writer.hpp"

#include <stdexcept>

#include "base/assert.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr std::size_t k_waiting_max = 1000;

}  // namespace

WriteOutcome outcome_of(const AppendReply& reply) {
  if (reply.basis_moved) return BasisMoved{};
  struct Of {
    WriteOutcome operator()(const storage::Appended& appended) const { return appended; }
    WriteOutcome operator()(const storage::Duplicate& duplicate) const { return duplicate; }
    WriteOutcome operator()(const storage::WrongVersion& /*faster*/) const { return Outrun{}; }
    WriteOutcome operator()(const storage::Fenced& /*fence*/) const {
      return FateUnknown{
          Error{ErrorCode::conflict, "a newer control plane has taken over this log", ""}};
    }
  };
  return std::visit(Of{}, reply.outcome);
}

WriteOutcome outcome_of(const Error& error) {
  if (error.code == ErrorCode::disk_full) return NotWritten{error};
  return FateUnknown{error};
}

bool ends_writer(const WritePolicy& policy, const WriteOutcome& outcome) {
  if (std::holds_alternative<Outrun>(outcome))
    return policy.outrun == WritePolicy::WhenOutrun::replay;
  return std::holds_alternative<FateUnknown>(outcome) &&
         policy.unknown == WritePolicy::WhenUnknown::replay;
}

void StreamWriter::in_turn(std::function<void()> work) {
  if (!busy_) return work();
  if (waiting_.size() >= k_waiting_max) throw std::runtime_error("too many commands wait");
  ATLAS_PROBE(true, "what rests on a fold waits for the append under way");
  waiting_.push_back(std::move(work));
}

void StreamWriter::begin_turn() {
  ATLAS_ASSERT(!busy_, "two appends of one fold at once");
  busy_ = true;
}

void StreamWriter::go_on() {
  while (!busy_ && !waiting_.empty()) {
    const auto work = std::move(waiting_.front());
    waiting_.pop_front();
    work();
  }
}

}  // namespace atlasflow::actors
