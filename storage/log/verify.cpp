// verify(): every record against the one before it, and every index against the records.
#include <map>
#include <optional>
#include <string>

#include "base/assert.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::storage {
namespace {

// What the records say can be said again.
Error damaged_index(Position position, const std::string& what) {
  return Error{ErrorCode::corrupt,
               "an index of the event log is damaged at position " +
                   std::to_string(position.value()) + ": " + what +
                   "; if the records are whole, atlasflow log rebuild makes it anew",
               {}};
}

class Verifier {
 public:
  explicit Verifier(const LogIndexes& indexes) : indexes_(indexes) {}

  // What read_all has not compared by itself: it has checked the position and the hash chain.
  std::optional<Error> check(const Record& record) {
    StreamVersion& version = versions_[record.stream];
    if (record.stream_version != version.next()) {
      return damaged(record.position, "version " + text(record.stream_version) + " of stream " +
                                          record.stream.str() + " follows version " +
                                          text(version));
    }
    version = record.stream_version;
    last_of_[record.stream] = record.position;
    if (record.event_id != event_id_of(record.stream, record.stream_version)) {
      return damaged(record.position, "its event id is " + record.event_id);
    }
    if (record.writer_epoch < epoch_) {
      return damaged(record.position,
                     "epoch " + text(record.writer_epoch) + " wrote after epoch " + text(epoch_));
    }
    epoch_ = record.writer_epoch;
    auto indexed = indexes_.find_version(record.stream, record.stream_version);
    if (!indexed) return indexed.error();
    if (*indexed != record.position) {
      return damaged_index(record.position, "the stream index does not lead to it");
    }
    last_ = {record.position, record.chain};
    return check_dedupe_key(record);
  }

  Result<Verification> finish() {
    for (const auto& [stream, version] : versions_) {
      ATLAS_TRY(const auto head, indexes_.head_of(stream));
      if (head.version != version || head.position != last_of_[stream]) {
        return tl::unexpected(
            damaged_index(last_of_[stream], "the head of stream " + stream.str() +
                                                " says version " + text(head.version) +
                                                ", its last record is version " + text(version)));
      }
    }
    ATLAS_TRY(const auto counts, indexes_.count_entries());
    if (counts.streams != versions_.size() || counts.versions != last_.last_position.value() ||
        counts.dedupe_keys != dedupe_keys_) {
      return tl::unexpected(
          damaged_index(last_.last_position, "the indexes hold entries that no record explains"));
    }
    return last_;
  }

 private:
  std::optional<Error> check_dedupe_key(const Record& record) {
    if (record.dedupe_key.empty()) return std::nullopt;
    ++dedupe_keys_;
    const auto known = indexes_.find_dedupe_key(record.dedupe_key);
    if (!known) return known.error();
    if (!*known || (*known)->position != record.position || (*known)->stream != record.stream) {
      return damaged_index(record.position, "its dedupe key is not entered for it");
    }
    return std::nullopt;
  }

  template <typename Number>
  static std::string text(Number number) {
    return std::to_string(number.value());
  }

  const LogIndexes& indexes_;
  std::map<StreamId, StreamVersion> versions_;
  std::map<StreamId, Position> last_of_;
  std::uint64_t dedupe_keys_ = 0;
  Epoch epoch_;
  Verification last_;
};

}  // namespace

Result<Verification> verify(const EventLog& log) {
  const auto* indexes = dynamic_cast<const LogIndexes*>(&log);
  ATLAS_ASSERT(indexes != nullptr, "this event log does not open its indexes to verify()");
  Verifier verifier(*indexes);
  std::optional<Error> found;
  ATLAS_TRYV(log.read_all(Position(1), [&](const Record& record) {
    found = verifier.check(record);
    return !found;
  }));
  if (found) return tl::unexpected(std::move(*found));
  return verifier.finish();
}

}  // namespace atlasflow::storage
