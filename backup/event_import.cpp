#include <cerrno>
#include <optional>
#include <system_error>

#include <stdio.h>
#include <unistd.h>

#include "backup/event_export.hpp"
#include "backup/event_line.hpp"
#include "backup/object_store.hpp"
#include "base/file.hpp"
#include "storage/log/log_copy.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_piece_bytes = 1U << 20U;
// Far above any event. A file without a line break must not take the machine's memory.
constexpr std::size_t k_line_bytes_max = 256U << 20U;

tl::unexpected<Error> at_line(std::uint64_t line, const std::string& what) {
  return fail(ErrorCode::invalid_argument, "line " + std::to_string(line) + ": " + what);
}

// The lines of a stream, which may not end in a line break.
Result<void> for_each_line(
    std::istream& in, const std::function<Result<void>(std::uint64_t, std::string_view)>& visit) {
  std::string rest;
  std::string piece(k_piece_bytes, '\0');
  std::uint64_t number = 0;
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    rest.append(piece, 0, static_cast<std::size_t>(in.gcount()));
    std::string_view left = rest;
    for (auto end = left.find('\n'); end != std::string_view::npos; end = left.find('\n')) {
      ATLAS_TRYV(visit(++number, left.substr(0, end)));
      left.remove_prefix(end + 1);
    }
    rest.erase(0, rest.size() - left.size());
    if (rest.size() > k_line_bytes_max) return at_line(number + 1, "it is too long for an event");
  }
  if (in.bad()) return fail(ErrorCode::internal, "the lines cannot be read; check the disk");
  return rest.empty() ? Result<void>{} : visit(++number, rest);
}

// What was acknowledged once is never replaced.
Result<void> expect_no_events(const fs::path& events) {
  if (names_if_any(events).empty()) return {};
  const auto log = storage::open_event_log_for_reading(events);
  if (log && (*log)->last_position() == Position{}) return {};
  return fail(ErrorCode::conflict,
              events.string() +
                  (log ? " has " + std::to_string((*log)->last_position().value()) + " events"
                       : " is not empty") +
                  ": events are imported into an empty log only; name another folder by "
                  "--state-dir, or move this one away",
              log ? "" : to_string(log.error()));
}

// Gone when it is not given its name.
class HalfMade {
 public:
  explicit HalfMade(fs::path folder) : folder_(std::move(folder)) { remove(); }
  ~HalfMade() { remove(); }
  HalfMade(const HalfMade&) = delete;
  HalfMade& operator=(const HalfMade&) = delete;
  [[nodiscard]] const fs::path& path() const { return folder_; }

 private:
  void remove() const {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  fs::path folder_;
};

class Import {
 public:
  explicit Import(storage::LogCopy copy) : copy_(std::move(copy)) {}

  Result<void> add(std::uint64_t number, std::string_view line) {
    if (line.empty()) return {};
    const auto stored = stored_in(line);
    if (!stored) return at_line(number, stored.error().message);
    if (const auto added = copy_.add(*stored); !added) {
      if (added.error().code != ErrorCode::corrupt) return added;
      return at_line(number, first_ ? added.error().message
                                    : added.error().message +
                                          " (a log is imported whole, from position 1 on)");
    }
    const auto& record = copy_.last();
    if (!first_) {
      first_ = record.position;
      source_ = source_of(record.chain);
    }
    const auto compared = compare_line(line, record, *stored, source_);
    return compared ? compared : at_line(number, compared.error().message);
  }

  Result<TransferReport> finish() {
    if (!first_) return fail(ErrorCode::invalid_argument, "there is no line: nothing to import");
    ATLAS_TRY(const auto tip, copy_.finish(Epoch{}));
    return TransferReport{*first_, tip.last, tip.chain};
  }

 private:
  storage::LogCopy copy_;
  std::optional<Position> first_;
  std::string source_;
};

}  // namespace

Result<TransferReport> import_events(std::istream& lines, const fs::path& state) {
  const auto events = state / "events";
  ATLAS_TRYV(expect_no_events(events));
  // A server that starts after a kill removes what ends so (server/state_dir.cpp).
  const HalfMade made(state / "events.import.new");
  TransferReport report;
  {
    ATLAS_TRY(auto copy, storage::LogCopy::begin(made.path()));
    Import import(std::move(copy));
    ATLAS_TRYV(for_each_line(lines, [&](std::uint64_t number, std::string_view line) {
      return import.add(number, line);
    }));
    ATLAS_TRY(report, import.finish());
  }
  // What stands there has no event, so a kill in between loses nothing.
  std::error_code error;
  if (fs::exists(events, error)) {
    fs::remove_all(events, error);
    if (error) {
      return fail(ErrorCode::internal, "cannot replace " + events.string(), error.message());
    }
  }
  if (::rename(made.path().c_str(), events.c_str()) != 0) {
    return tl::unexpected(disk_error(errno_error("cannot name " + events.string())));
  }
  ATLAS_TRYV(sync_folder(state));
  return report;
}

}  // namespace atlasflow::backup
