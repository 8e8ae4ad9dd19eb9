// An event log that passes every call on to another one: the base of those that change one thing
// about it, in the simulator (a disk that is full, a process that is dead) and in tests. As
// thread-safe as the log behind it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

class ForwardingEventLog : public EventLog {
 public:
  explicit ForwardingEventLog(std::unique_ptr<EventLog> log) : log_(std::move(log)) {}

  Result<std::vector<AppendOutcome>> append(const std::vector<AppendRequest>& requests,
                                            TimestampUs now) override {
    return log_->append(requests, now);
  }
  Result<Epoch> begin_epoch() override { return log_->begin_epoch(); }
  Result<void> read_all(Position first,
                        const std::function<bool(const Record&)>& visit) const override {
    return log_->read_all(first, visit);
  }
  Result<void> read_stream(const StreamId& stream, StreamVersion first,
                           const std::function<bool(const Record&)>& visit) const override {
    return log_->read_stream(stream, first, visit);
  }
  Result<std::optional<Record>> read_at(Position position) const override {
    return log_->read_at(position);
  }
  Result<StreamVersion> version_of(const StreamId& stream) const override {
    return log_->version_of(stream);
  }
  Result<void> note_end(TimestampUs now) override { return log_->note_end(now); }
  Result<void> has_room() const override { return log_->has_room(); }
  Position last_position() const override { return log_->last_position(); }

 protected:
  [[nodiscard]] EventLog& log() const { return *log_; }

 private:
  std::unique_ptr<EventLog> log_;
};

}  // namespace atlasflow::storage
