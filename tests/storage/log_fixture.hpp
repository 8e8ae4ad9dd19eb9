// What the tests of the event log share: a folder that goes away, events to append, and short forms
// of the calls that are expected to work.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "atlasflow-test-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline constexpr TimestampUs k_noon = 1'700'000'000'000'000;

inline pb::Event cloned(const std::string& subject) {
  pb::Event event;
  event.mutable_cloned()->set_subject(subject);
  return event;
}

inline AppendRequest request(const std::string& stream, std::uint64_t expected_version,
                             std::size_t events = 1, std::string dedupe_key = {}) {
  AppendRequest made;
  made.stream = StreamId(stream);
  made.expected_version = StreamVersion(expected_version);
  for (std::size_t i = 0; i < events; ++i) {
    made.events.push_back(cloned("commit " + std::to_string(expected_version + i + 1)));
  }
  made.dedupe_key = std::move(dedupe_key);
  made.correlation_id = "delivery-1";
  made.actor = Principal::system("deployment");
  return made;
}

// The outcomes of an append that must not meet an error.
inline std::vector<AppendOutcome> append(EventLog& log, const std::vector<AppendRequest>& requests,
                                         TimestampUs now = k_noon) {
  auto outcomes = log.append(requests, now);
  if (!outcomes) {
    ADD_FAILURE() << to_string(outcomes.error());
    return std::vector<AppendOutcome>(requests.size(), Fenced{});
  }
  return std::move(*outcomes);
}

inline Appended append_one(EventLog& log, const AppendRequest& one, TimestampUs now = k_noon) {
  auto outcomes = append(log, {one}, now);
  if (auto* appended = std::get_if<Appended>(outcomes.data())) return std::move(*appended);
  ADD_FAILURE() << "an append to " << one.stream << " was refused, outcome "
                << outcomes.front().index();
  return {};
}

// count events, one append each, to stream from its version first on.
inline void fill(EventLog& log, const std::string& stream, std::uint64_t first,
                 std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) append_one(log, request(stream, first + i));
}

inline std::vector<Record> all_records(const EventLog& log, std::uint64_t first = 1) {
  std::vector<Record> records;
  const auto read = log.read_all(Position(first), [&](const Record& record) {
    records.push_back(record);
    return true;
  });
  EXPECT_TRUE(read) << to_string(read.error());
  return records;
}

inline std::vector<Record> stream_records(const EventLog& log, const std::string& stream,
                                          std::uint64_t first = 1) {
  std::vector<Record> records;
  const auto read =
      log.read_stream(StreamId(stream), StreamVersion(first), [&](const Record& record) {
        records.push_back(record);
        return true;
      });
  EXPECT_TRUE(read) << to_string(read.error());
  return records;
}

inline Result<void> read_everything(const EventLog& log) {
  return log.read_all(Position(1), [](const Record&) { return true; });
}

}  // namespace atlasflow::storage
