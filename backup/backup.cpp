#include "backup/backup.hpp"

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup_folder.hpp"
#include "backup/log_contents.hpp"
#include "backup/log_segment.hpp"
#include "backup/state_files.hpp"
#include "backup/state_folder.hpp"
#include "base/file.hpp"
#include "storage/log/read_stored.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t k_segment_bytes_max = 256ULL << 20U;
// A server removes things every ten minutes at most, so a second look finds all.
constexpr int k_rounds_max = 4;
constexpr int k_looks_max = 8;  // for objects of repositories that are being pushed to

std::string hex_of(const storage::ChainHash& chain) { return to_hex(bytes_of(chain)); }

// Absolute first: a name that is not there yet would stay relative, and lie in nothing.
Result<fs::path> real_path(const fs::path& named) {
  std::error_code error;
  const auto absolute = fs::absolute(named, error);
  auto real = error ? fs::path() : fs::weakly_canonical(absolute, error);
  if (error) {
    return fail(ErrorCode::invalid_argument,
                "cannot tell where " + named.string() + " lies; name another folder",
                error.message());
  }
  return real.has_filename() ? real : real.parent_path();
}

Result<void> expect_apart(const fs::path& state, const fs::path& folder) {
  ATLAS_TRY(const auto from, real_path(state));
  ATLAS_TRY(const auto to, real_path(folder));
  const auto [from_end, to_end] = std::mismatch(from.begin(), from.end(), to.begin(), to.end());
  if (from_end != from.end() && to_end != to.end()) return {};
  return fail(ErrorCode::invalid_argument,
              folder.string() + " and the state folder " + state.string() +
                  " lie in each other: name a folder elsewhere, best on another disk");
}

class Backup {
 public:
  Backup(const BackupConfig& config, BackupFolder folder, int layout)
      : config_(config), folder_(std::move(folder)) {
    made_.layout = layout;
  }

  Result<BackupReport> make() {
    ATLAS_TRY(auto before, folder_.newest());
    made_.number = before.number + 1;
    damaged_manifests_ = std::move(before.damaged);
    if (before.manifest) go_on_from(*before.manifest);
    std::vector<std::string> missing;
    LogContents contents;
    for (int round = 1; round <= k_rounds_max; ++round) {
      const auto seen_before = std::pair(missing, damaged_);
      ATLAS_TRY(contents, save_log());
      if (config_.between_log_and_files) config_.between_log_and_files();
      ATLAS_TRYV(save_files());
      ATLAS_TRY(missing, missing_in(contents.worthwhile));
      // What is missing may have gone with its last event, what is damaged may have been written
      // just then. What is so twice was so to begin with.
      if ((missing.empty() && damaged_.empty()) || std::pair(missing, damaged_) == seen_before) {
        break;
      }
    }
    ATLAS_TRY(missing, missing_in(contents.needed));
    ATLAS_TRYV(describe_key());
    made_.made_at = config_.now;
    made_.build = config_.build;
    ATLAS_TRYV(folder_.publish(made_));
    return report(std::move(missing));
  }

 private:
  // The log's records are in the backup before, and what has not changed need not be read again.
  // Where a segment's object has gone, the log is written again from there on, in the same
  // segments: so the backups that share them are whole again too.
  void go_on_from(const Manifest& before) {
    seen_ = {before.position, before.chain};
    bool whole = true;
    for (const auto& segment : before.log) {
      whole = whole && folder_.objects().has(segment.object);
      if (!whole) {
        ends_.insert(segment.last);
        continue;
      }
      made_.log.push_back(segment);
      made_.position = segment.last;
      made_.chain = segment.chain;
    }
    begun_at_ = made_.position;
    for (const auto& file : before.files) known_.emplace(file.path, file);
  }

  [[nodiscard]] Result<std::vector<std::string>> missing_in(const LogNeeds& needs) const {
    std::error_code error;
    const bool own_registry = fs::exists(config_.state / k_registry_folder, error);
    return missing_of(needs, made_.files, folder_.objects(), own_registry);
  }

  tl::unexpected<Error> another_log() const {
    return fail(ErrorCode::invalid_argument,
                "the backups in " + folder_.path().string() + " are of another event log than " +
                    (config_.state / "events").string() +
                    ", or of one that went on after a restore from an earlier backup; name "
                    "another folder");
  }

  // Everything behind what the backup has by now; folds the whole log, which checks its chain.
  Result<LogContents> save_log() {
    ATLAS_TRY(const auto checked, storage::open_checked_event_log(config_.state / "events"));
    const auto& log = *checked.log;
    if (log.last_position() < seen_.position) return another_log();
    if (log.last_position().value() == 0) {
      return fail(ErrorCode::invalid_argument, "the event log in " + config_.state.string() +
                                                   " is empty; there is nothing to back up");
    }
    storage::Catalog catalog;
    bool other = false;
    ATLAS_TRYV(log.read_all(Position(1), [&](const storage::Record& record) {
      if (record.position == seen_.position) other = hex_of(record.chain) != seen_.chain;
      catalog.apply(record);
      return !other;
    }));
    if (other) return another_log();
    ATLAS_TRYV(save_records(log, made_.position));
    seen_ = {made_.position, made_.chain};
    made_.epoch = std::max({made_.epoch, checked.epoch, newest_epoch_});
    auto contents = contents_of(catalog);
    made_.state = contents.state;
    return contents;
  }

  Result<void> save_records(const storage::EventLog& log, Position known) {
    if (log.last_position() == known) return {};
    std::optional<ObjectStore::Writer> writer;
    LogSegment segment;
    std::uint64_t bytes = 0;
    Result<void> saved;
    const auto finish = [&]() -> Result<void> {
      ATLAS_TRY(segment.object, writer->finish());
      made_.log.push_back(segment);
      made_.position = segment.last;
      made_.chain = segment.chain;
      writer.reset();
      bytes = 0;
      return {};
    };
    const auto save = [&](const storage::Record& record, std::string_view stored) -> Result<void> {
      if (!writer) {
        ATLAS_TRY(auto begun, folder_.objects().begin());
        writer.emplace(std::move(begun));
        segment.first = record.position;
      }
      const auto frame = framed(stored);
      ATLAS_TRYV(writer->add(frame));
      segment.last = record.position;
      segment.chain = hex_of(record.chain);
      newest_epoch_ = std::max(newest_epoch_, record.writer_epoch);
      bytes += frame.size();
      const bool full = bytes >= k_segment_bytes_max || ends_.contains(segment.last);
      return full ? finish() : Result<void>{};
    };
    ATLAS_TRYV(storage::read_stored(log, known.next(),
                                    [&](const storage::Record& record, std::string_view stored) {
                                      saved = save(record, stored);
                                      return saved.has_value();
                                    }));
    if (saved && writer) saved = finish();
    return saved;
  }

  Result<void> save_files() {
    made_.files.clear();
    damaged_.clear();
    ATLAS_TRY(auto files, files_to_save(config_.state, config_.keys));
    auto& paths = files.paths;
    nameless_ = std::move(files.nameless);
    // Backwards: the times beside a log before the log, which is then at least as long as they say,
    // and the registry's names before its blobs, which were there first.
    std::ranges::reverse(paths);
    for (const auto& path : paths) {
      ATLAS_TRY(auto saved, save_file(path));
      if (!saved) continue;
      known_.insert_or_assign(path, *saved);
      made_.files.push_back(std::move(*saved));
    }
    ATLAS_TRYV(save_late_objects());
    std::ranges::sort(made_.files, {}, &SavedFile::path);
    return {};
  }

  // A branch that was saved may point to what came, or was packed anew, after the list was made.
  Result<void> save_late_objects() {
    std::set<std::string> listed;
    for (const auto& file : made_.files) listed.insert(file.path);
    for (int look = 0; look < k_looks_max; ++look) {
      ATLAS_TRY(const auto paths, git_objects_to_save(config_.state));
      bool is_new = false;
      for (const auto& path : paths) {
        if (!listed.insert(path).second) continue;
        is_new = true;
        ATLAS_TRY(auto saved, save_file(path));
        if (saved) made_.files.push_back(std::move(*saved));
      }
      if (!is_new) break;
    }
    return {};
  }

  // Nothing when it has gone since it was listed.
  Result<std::optional<SavedFile>> save_file(const std::string& path) {
    const auto full = config_.state / path;
    const FileDescriptor fd(::open(full.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
      // ENOTDIR: a branch has the name of the folder that it was in.
      if (errno == ENOENT || errno == ENOTDIR) return std::optional<SavedFile>{};
      return tl::unexpected(
          errno_error("cannot read " + full.string() + "; run it as the server's user"));
    }
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) {
      return tl::unexpected(errno_error("cannot look at " + full.string()));
    }
    if (!S_ISREG(status.st_mode)) return std::optional<SavedFile>{};
    SavedFile file;
    file.path = path;
    file.mode = status.st_mode & 0777U;
    file.size = static_cast<std::uint64_t>(status.st_size);
    constexpr std::int64_t k_second_ns = 1'000'000'000;
    file.mtime_ns = status.st_mtim.tv_sec * k_second_ns + status.st_mtim.tv_nsec;
    // The head of a long run log is a hole (log_keeper.hpp).
    const auto data = ::lseek(fd.get(), 0, SEEK_DATA);
    file.hole = data < 0 ? (errno == ENXIO ? file.size : 0) : static_cast<std::uint64_t>(data);
    if (!is_known(file)) {
      ATLAS_TRY(file.object, folder_.objects().put(fd.get(), file.hole, file.size, full.string()));
      file.size = file.hole + file.object.bytes;
    }
    const auto digest = digest_by_name(path);
    if (!digest.empty() && digest != file.object.sha256) damaged_.push_back(full.string());
    return file;
  }

  // Without looking at its bytes: by its name where that says them, else by its size and time.
  bool is_known(SavedFile& file) const {
    if (const auto digest = digest_by_name(file.path); !digest.empty() && file.hole == 0) {
      const Object object{std::string(digest), file.size};
      if (folder_.objects().has(object)) {
        file.object = object;
        return true;
      }
    }
    const auto known = known_.find(file.path);
    if (known == known_.end() || known->second.size != file.size ||
        known->second.mtime_ns != file.mtime_ns || known->second.hole != file.hole ||
        !folder_.objects().has(known->second.object)) {
      return false;
    }
    file.object = known->second.object;
    return true;
  }

  Result<void> describe_key() {
    made_.keys = config_.keys;
    const auto digest = key_digest_of(config_.state / k_secret_key);
    if (digest) {
      made_.key_digest = *digest;
    } else if (digest.error().code != ErrorCode::not_found) {
      return tl::unexpected(digest.error());
    }
    return {};
  }

  BackupReport report(std::vector<std::string> missing) {
    BackupReport report;
    report.number = made_.number;
    report.position = made_.position;
    report.chain = made_.chain;
    report.state = made_.state;
    report.events_added = made_.position.value() - begun_at_.value();
    report.files = made_.files.size();
    report.objects_added = folder_.objects().objects_added();
    report.bytes_added = folder_.objects().bytes_added();
    report.removed = folder_.remove_old(config_.keep);
    report.missing = std::move(missing);
    report.damaged = std::move(damaged_);
    report.nameless = std::move(nameless_);
    report.damaged_manifests = std::move(damaged_manifests_);
    return report;
  }

  const BackupConfig& config_;
  BackupFolder folder_;
  Manifest made_;
  // The end of the log when it was seen last: it must go on from there.
  struct Seen {
    Position position;
    std::string chain;
  };
  Seen seen_;
  std::set<Position> ends_;  // of segments that are written again
  Position begun_at_;        // where that which was there already ended
  Epoch newest_epoch_;
  std::map<std::string, SavedFile> known_;
  std::vector<std::string> damaged_;
  std::vector<std::string> nameless_;
  std::vector<std::string> damaged_manifests_;
};

}  // namespace

Result<BackupReport> make_backup(const BackupConfig& config) {
  ATLAS_TRY(const auto layout, layout_of(config.state));
  ATLAS_TRYV(expect_apart(config.state, config.folder));
  ATLAS_TRY(auto folder, BackupFolder::open_for_writing(config.folder));
  return Backup(config, std::move(folder), layout).make();
}

}  // namespace atlasflow::backup
