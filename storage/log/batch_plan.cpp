#include "storage/log/batch_plan.hpp"

#include <utility>

#include "base/assert.hpp"
#include "base/probe.hpp"

namespace atlasflow::storage {
namespace {

class Planner {
 public:
  Planner(TimestampUs now, const WriterIdentity& writer, const LogTip& tip, const LogLookup& log,
          RecordCodec& codec)
      : now_(now), writer_(writer), log_(log), codec_(codec) {
    plan_.tip = tip;
  }

  Result<void> add(const AppendRequest& request) {
    check(request);
#ifdef ATLAS_CANARY_FORGOTTEN_FENCE
    const bool fenced = false;  // a canary (cmake/Canary.cmake): an older epoch writes on
#else
    const bool fenced = writer_.own < writer_.stored;
#endif
    if (fenced) {
      ATLAS_PROBE(true, "a writer of an older epoch was fenced");
      plan_.outcomes.emplace_back(Fenced{writer_.stored});
      return {};
    }
    if (!request.dedupe_key.empty()) {
      ATLAS_TRY(auto known, find_dedupe_key(request.dedupe_key));
      if (known) {
        ATLAS_PROBE(true, "an append had been made before, as its dedupe key says");
        plan_.outcomes.emplace_back(*known);
        return {};
      }
    }
    ATLAS_TRY(auto head, head_of(request.stream));
    if (head.version != request.expected_version) {
      ATLAS_PROBE(true, "an append expected another version of its stream");
      plan_.outcomes.emplace_back(WrongVersion{head.version});
      return {};
    }
    accept(request, head);
    return {};
  }

  BatchPlan take() { return std::move(plan_); }

 private:
  // These come from our own actors, never from outside, so a violation is a bug and stops us here
  // rather than as a record that cannot be addressed.
  static void check(const AppendRequest& request) {
    ATLAS_ASSERT(!request.events.empty(), "an append without events to " + request.stream.str());
    ATLAS_ASSERT(!request.stream.empty(), "an append without a stream");
    ATLAS_ASSERT(request.stream.str().find('\0') == std::string::npos,
                 "NUL ends a stream's name in the keys and cannot be in one");
  }

  Result<std::optional<Duplicate>> find_dedupe_key(const std::string& key) const {
    const auto mine = dedupe_.find(key);
    ATLAS_PROBE(mine != dedupe_.end(), "two appends of one batch have the same dedupe key");
    if (mine != dedupe_.end()) return mine->second;
    return log_.find_dedupe_key(key);
  }

  Result<StreamHead> head_of(const StreamId& stream) const {
    const auto mine = plan_.heads.find(stream);
    ATLAS_PROBE(mine != plan_.heads.end(), "two appends of one batch are to the same stream");
    if (mine != plan_.heads.end()) return mine->second;
    return log_.head_of(stream);
  }

  void accept(const AppendRequest& request, StreamHead head) {
    Appended appended;
    appended.first_position = plan_.tip.last.next();
    appended.records.reserve(request.events.size());
    for (const pb::Event& event : request.events) {
      Record record;
      record.position = plan_.tip.last.next();
      record.stream = request.stream;
      record.stream_version = head.version.next();
      record.recorded_at = now_;
      record.writer_epoch = writer_.own;
      record.event_id = event_id_of(record.stream, record.stream_version);
      record.correlation_id = request.correlation_id;
      // What follows in the same append follows from the event before it.
      record.causation_position =
          appended.records.empty() ? request.causation_position : plan_.tip.last;
      record.build_id = writer_.build_id;
      record.actor = request.actor.str();
      if (appended.records.empty()) record.dedupe_key = request.dedupe_key;
      record.event = event;
      std::string value = codec_.encode(record, plan_.tip.chain);

      head = {record.stream_version, record.position};
      plan_.tip = {record.position, record.chain};
      plan_.rows.push_back({record.position, record.stream, record.stream_version, std::move(value),
                            record.dedupe_key});
      appended.records.push_back(std::move(record));
    }
    appended.last_version = head.version;
    plan_.heads[request.stream] = head;
    if (!request.dedupe_key.empty()) {
      dedupe_[request.dedupe_key] = Duplicate{appended.first_position, request.stream};
    }
    plan_.outcomes.emplace_back(std::move(appended));
  }

  TimestampUs now_;
  const WriterIdentity& writer_;
  const LogLookup& log_;
  RecordCodec& codec_;
  std::map<std::string, Duplicate> dedupe_;  // made by earlier requests of this batch
  BatchPlan plan_;
};

}  // namespace

Result<BatchPlan> plan_batch(const std::vector<AppendRequest>& requests, TimestampUs now,
                             const WriterIdentity& writer, const LogTip& tip, const LogLookup& log,
                             RecordCodec& codec) {
  Planner planner(now, writer, tip, log, codec);
  for (const AppendRequest& request : requests) {
    ATLAS_TRYV(planner.add(request));
  }
  return planner.take();
}

}  // namespace atlasflow::storage
