// verify(): every record against the one before it, and every index against the records, each read
// once and in order. What an index should hold is summed up while the records pass by
// (fingerprint.hpp), so the memory that is needed is the same for every log. Only after something
// does not fit is it looked for where.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.hpp"
#include "storage/log/fingerprint.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/record_view.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::storage {
namespace {

template <typename Number>
std::string text(Number number) {
  return std::to_string(number.value());
}

bool is_event_id(std::string_view id, std::string_view stream, StreamVersion version) {
  if (id.size() <= stream.size() || !id.starts_with(stream) || id[stream.size()] != '@') {
    return false;
  }
  std::array<char, 20> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), version.value());
  return id.substr(stream.size() + 1) ==
         std::string_view(digits.data(), static_cast<std::size_t>(written.ptr - digits.data()));
}

// What the indexes of versions and of dedupe keys hold, or should. An entry's position is its own,
// so two sums of pairs tell the same as one of all three would.
struct Contents {
  Fingerprint versions;       // stream, version, position
  Fingerprint dedupe_keys;    // key, position
  Fingerprint dedupe_origin;  // stream, position of each key

  void add_key(std::string_view key, std::string_view stream, Position position) {
    dedupe_keys.add(key, position.value(), 0);
    dedupe_origin.add(stream, position.value(), 0);
  }
  friend bool operator==(const Contents&, const Contents&) = default;
};

// Tells now and then how far it has come: a call for each step would cost more than some steps.
class Steps {
 public:
  Steps(const VerifyProgress& tell, Position last) : tell_(tell), total_(2 * last.value()) {
    if (tell_) tell_(0, total_);
  }

  // One for each record, and one for each entry of the index of versions.
  void take() {
    constexpr std::uint64_t k_stride = 1U << 16U;
    if (++done_ % k_stride == 0 && tell_) tell_(std::min(done_, total_), total_);
  }

 private:
  const VerifyProgress& tell_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
};

// The records by themselves.
class RecordCheck {
 public:
  [[nodiscard]] std::optional<Error> take(Position position, std::string_view stored) {
    if (!codec_.check_chain(stored, last_.chain)) {
      return damaged(position, "its hash does not follow from the one before");
    }
    auto record = view_of_plain(stored);
    if (!record) {
      auto decoded = codec_.decode_into(stored, decoded_);
      if (!decoded) return at_position(position, std::move(decoded.error()));
      record = view_of(decoded_);
    }
    if (record->position != position) {
      return damaged(position, "its key and its record disagree");
    }
    if (!is_event_id(record->event_id, record->stream, record->stream_version)) {
      return damaged(position, "its event id is " + std::string(record->event_id));
    }
    if (record->writer_epoch < epoch_) {
      return damaged(position,
                     "epoch " + text(record->writer_epoch) + " wrote after epoch " + text(epoch_));
    }
    epoch_ = record->writer_epoch;
    told_.versions.add(record->stream, record->stream_version.value(), position.value());
    if (!record->dedupe_key.empty()) told_.add_key(record->dedupe_key, record->stream, position);
    last_ = {position, *chain_of(stored)};
    return std::nullopt;
  }

  // What the indexes have to hold then.
  [[nodiscard]] const Contents& told() const { return told_; }
  [[nodiscard]] const Verification& last() const { return last_; }

 private:
  RecordCodec codec_;
  Record decoded_;  // for one that is not in the plain form
  Epoch epoch_;
  Contents told_;
  Verification last_;
};

// The index of versions: as it holds what the records say, a gap in it is one in theirs.
class VersionsCheck {
 public:
  // False: it does not follow the version before.
  [[nodiscard]] bool take(const LogIndexes::VersionEntry& entry) {
    if (entry.stream != stream_) {
      end_stream();
      stream_ = entry.stream;
      head_ = {};
    }
    if (entry.version != head_.version.next() || entry.position <= head_.position) return false;
    head_ = {entry.version, entry.position};
    versions_.add(entry.stream, entry.version.value(), entry.position.value());
    return true;
  }
  void end_stream() {
    if (head_.version.value() != 0) add_head(heads_, stream_, head_);
  }

  [[nodiscard]] const Fingerprint& versions() const { return versions_; }
  // What the index of heads has to hold then.
  [[nodiscard]] const Fingerprint& heads() const { return heads_; }

  static void add_head(Fingerprint& heads, std::string_view stream, const StreamHead& head) {
    heads.add(stream, head.version.value(), head.position.value());
  }

 private:
  std::string stream_;
  StreamHead head_;
  Fingerprint versions_;
  Fingerprint heads_;
};

// ---- where it is ----

// Something does not fit: look-ups for each record and each head tell where. Slow, in no memory.
class Search {
 public:
  Search(const EventLog& log, const LogIndexes& indexes) : log_(log), indexes_(indexes) {}

  [[nodiscard]] Error run() {
    if (auto found = first_of([this](const Record& record) { return in_versions(record); })) {
      return *std::move(found);
    }
    // Only now it is known which record is the last one of its stream.
    if (auto found = first_of([this](const Record& record) { return in_heads(record); })) {
      return *std::move(found);
    }
    if (auto found = first_of([this](const Record& record) { return in_dedupe_keys(record); })) {
      return *std::move(found);
    }
    return damaged_index(std::nullopt, "there are entries that no record explains");
  }

 private:
  template <typename Check>
  [[nodiscard]] std::optional<Error> first_of(Check check) {
    std::optional<Error> found;
    auto read = log_.read_all(Position(1), [&](const Record& record) {
      found = check(record);
      return !found;
    });
    if (!read) return std::move(read.error());
    return found;
  }

  [[nodiscard]] std::optional<Error> in_versions(const Record& record) {
    const StreamVersion version = record.stream_version;
    if (version.value() > 1) {
      const auto before = indexes_.find_version(record.stream, StreamVersion(version.value() - 1));
      if (!before) return before.error();
      // The record before it would have been told of already, if there were one.
      if (!*before || **before >= record.position) {
        return damaged(record.position, "version " + text(version) + " of stream " +
                                            record.stream.str() +
                                            " does not follow the version before it");
      }
    }
    const auto indexed = indexes_.find_version(record.stream, version);
    if (!indexed) return indexed.error();
    if (*indexed == record.position) return std::nullopt;
    return damaged_index(record.position, "the stream index does not lead to it");
  }

  [[nodiscard]] std::optional<Error> in_dedupe_keys(const Record& record) {
    if (record.dedupe_key.empty()) return std::nullopt;
    const auto known = indexes_.find_dedupe_key(record.dedupe_key);
    if (!known) return known.error();
    if (*known && (*known)->position == record.position && (*known)->stream == record.stream) {
      return std::nullopt;
    }
    return damaged_index(record.position, "its dedupe key is not entered for it");
  }

  // At the last record of a stream, which is the one that no version follows.
  [[nodiscard]] std::optional<Error> in_heads(const Record& record) {
    const auto next = indexes_.find_version(record.stream, record.stream_version.next());
    if (!next) return next.error();
    if (*next) return std::nullopt;
    const auto head = indexes_.head_of(record.stream);
    if (!head) return head.error();
    if (head->version == record.stream_version && head->position == record.position) {
      return std::nullopt;
    }
    return damaged_index(record.position, "the head of stream " + record.stream.str() +
                                              " says version " + text(head->version) +
                                              ", its last record is version " +
                                              text(record.stream_version));
  }

  const EventLog& log_;
  const LogIndexes& indexes_;
};

// Whether the indexes hold what the records have told, and nothing else.
Result<bool> indexes_hold(const LogIndexes& indexes, const Contents& told, Steps& steps) {
  VersionsCheck versions;
  bool fits = true;
  ATLAS_TRYV(indexes.scan_versions([&](const LogIndexes::VersionEntry& entry) {
    steps.take();
    fits = versions.take(entry);
    return fits;
  }));
  if (!fits) return false;
  versions.end_stream();

  Fingerprint heads;
  ATLAS_TRYV(indexes.scan_heads([&](const LogIndexes::HeadEntry& entry) {
    VersionsCheck::add_head(heads, entry.stream, entry.head);
    return true;
  }));
  Contents held;
  ATLAS_TRYV(indexes.scan_dedupe_keys([&](const LogIndexes::DedupeEntry& entry) {
    held.add_key(entry.key, entry.stream, entry.position);
    return true;
  }));
  held.versions = versions.versions();
  return held == told && heads == versions.heads();
}

}  // namespace

Result<Verification> verify(const EventLog& log, const VerifyProgress& progress) {
  const auto* indexes = dynamic_cast<const LogIndexes*>(&log);
  ATLAS_ASSERT(indexes != nullptr, "this event log does not open its indexes to verify()");
  Steps steps(progress, log.last_position());
  RecordCheck records;
  std::optional<Error> found;
  ATLAS_TRYV(indexes->scan_stored(Position(1), [&](Position position, std::string_view stored) {
    steps.take();
    found = records.take(position, stored);
    return !found;
  }));
  if (found) return tl::unexpected(std::move(*found));
  ATLAS_TRY(const bool fits, indexes_hold(*indexes, records.told(), steps));
  if (!fits) return tl::unexpected(Search(log, *indexes).run());
  return records.last();
}

}  // namespace atlasflow::storage
