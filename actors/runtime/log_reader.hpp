// The log reader: reads the log for the actors that share the scheduler's threads, which must not
// wait for a disk. Blocks, so it has a thread of its own in production. A request is a page: nobody
// waits long for another's reading, and a mailbox never holds a whole log.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include "actors/runtime/support.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::actors {

// Of one stream, from `first` up to `last`; 0: up to its end.
struct ReadStream {
  StreamId stream;
  StreamVersion first = StreamVersion{1};
  StreamVersion last = StreamVersion{};
};
// Called by the reader, for each record in its order.
using IsWanted = std::function<bool(const storage::Record&)>;
// Of the log, from `first` on; those records only. Empty: all.
struct ReadLog {
  Position first = Position{1};
  IsWanted only = {};
};
// In the log's order, at most k_page_records_max.
struct LogPage {
  std::shared_ptr<const std::vector<storage::Record>> records;
  bool at_end = false;  // there was nothing more when it was read
  // Of ReadLog: where the next page begins.
  Position next = Position{1};
};

inline constexpr std::size_t k_page_records_max = 256;
// What a page with a filter passes over at most.
inline constexpr std::size_t k_page_looks_max = 8192;

using log_reader_actor = caf::typed_actor<
    // An error of the log is the answer, also one that it throws.
    caf::replies_to<ReadStream>::with<LogPage>, caf::replies_to<ReadLog>::with<LogPage>>;

struct LogReaderState {
  const char* name = "log_reader";
};
[[nodiscard]] log_reader_actor::behavior_type log_reader(
    log_reader_actor::stateful_pointer<LogReaderState> self, const storage::EventLog* log);

// How far the log has come: all that a scheduled actor may ask it, since that never waits.
class LogEnd {
 public:
  LogEnd() = default;
  explicit LogEnd(const storage::EventLog* log) : log_(log) {}
  [[nodiscard]] Position operator()() const { return log_->last_position(); }

 private:
  const storage::EventLog* log_ = nullptr;
};

using TakeRecord = std::function<void(const storage::Record&)>;

// What is to be done about a page that did not come. Throws when the log can't be read: the asker
// dies of it. Returns when the reader is gone, and the asker waits: all parts begin anew then.
void deal_with_lost_page(const caf::error& error);

// Reads the part of the stream page by page, each record to `take`, and then calls `done`.
template <typename Self>
void read_stream(Self* self, const log_reader_actor& reader, ReadStream part, TakeRecord take,
                 std::function<void()> done) {
  self->request(reader, caf::infinite, part)
      .then(
          [=](const LogPage& page) {
            for (const auto& record : *page.records) take(record);
            if (page.at_end) return done();
            auto rest = part;
            rest.first = page.records->back().stream_version.next();
            read_stream(self, reader, std::move(rest), take, done);
          },
          [](const caf::error& error) { deal_with_lost_page(error); });
}

// The same of the log; `done` is told where the next page would begin.
template <typename Self>
void read_log(Self* self, const log_reader_actor& reader, ReadLog part, TakeRecord take,
              std::function<void(Position)> done) {
  self->request(reader, caf::infinite, part)
      .then(
          [=](const LogPage& page) {
            for (const auto& record : *page.records) take(record);
            if (page.at_end) return done(page.next);
            read_log(self, reader, ReadLog{page.next, part.only}, take, done);
          },
          [](const caf::error& error) { deal_with_lost_page(error); });
}

}  // namespace atlasflow::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ReadStream)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ReadLog)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::LogPage)
